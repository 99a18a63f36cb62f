"""At most so many at once, where the bound may change while they are."""

import asyncio
from collections import deque
from collections.abc import Callable


class Gate:
    """For one event loop. Who may wait uses `async with`; who looks for room elsewhere asks `has_room`, calls `enter`
    and `leave`, and hears of room by `listeners`."""

    def __init__(self, bound: int | None = None) -> None:
        self._bound = bound
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.in_flight = 0
        self.listeners: list[Callable[[], None]] = []

    @property
    def bound(self) -> int | None:
        """None lets all through."""
        return self._bound

    @bound.setter
    def bound(self, bound: int | None) -> None:
        if bound != self._bound:
            self._bound = bound
            self._room()

    @property
    def has_room(self) -> bool:
        return self._bound is None or self.in_flight < self._bound

    def enter(self) -> None:
        self.in_flight += 1

    def leave(self) -> None:
        self.in_flight -= 1
        if self._bound is not None:
            self._room()

    async def __aenter__(self) -> None:
        if self.has_room and not self._waiting:
            self.enter()
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave()
            raise

    async def __aexit__(self, *_: object) -> None:
        self.leave()

    def _room(self) -> None:
        while self._waiting and self.has_room:
            turn = self._waiting.popleft()
            if not turn.done():
                self.enter()
                turn.set_result(None)
        if self.has_room:
            for listener in tuple(self.listeners):
                listener()
