"""Many askers, one call in a thread: what a blocking call costs is shared by all who ask at about the same time."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Generic, TypeVar

Ask = TypeVar("Ask")
Got = TypeVar("Got")

MOST = 256
"""Asked at once: a round is no longer than others may wait for."""


class Together(Generic[Ask, Got]):
    """`function` is called in a thread with all that was asked in one step of the loop; what is asked while it works
    goes together into the next round. It gives as many results, in order, an exception in place of one that failed.
    """

    def __init__(
        self, function: Callable[[Sequence[Ask]], Sequence[Got | Exception]], threads: Executor | None = None
    ) -> None:
        """Without `threads` it works in the loop's own ones."""
        self._function = function
        self._threads = threads
        self._waiting: list[tuple[Ask, asyncio.Future[Got]]] = []
        self._rounds: asyncio.Task[None] | None = None

    async def __call__(self, ask: Ask) -> Got:
        """Raises what the round did, or what took this one's place. Cancelled, it may have been done all the same."""
        future: asyncio.Future[Got] = asyncio.get_running_loop().create_future()
        self._waiting.append((ask, future))
        if self._rounds is None:
            self._rounds = asyncio.create_task(self._work(), name=f"together: {self._function.__name__}")
        return await future

    async def idle(self, seconds: float) -> None:
        """Wait until nothing is asked for any more, or the time is over."""
        if self._rounds is not None:
            await asyncio.wait([self._rounds], timeout=seconds)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                some, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
                try:
                    asked = [ask for ask, _ in some]
                    results = await loop.run_in_executor(self._threads, self._function, asked)
                except Exception as e:
                    results = [e] * len(some)
                for (_, future), result in zip(some, results, strict=True):
                    if future.done():  # cancelled
                        continue
                    if isinstance(result, Exception):
                        future.set_exception(result)
                    else:
                        future.set_result(result)
        finally:
            self._rounds = None
            for _, future in self._waiting:
                future.cancel()  # only where the loop itself is ending
