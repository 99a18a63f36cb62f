"""What a process's model calls came to, by run and endpoint: counted in memory, told to the database now and then.

A process that is killed takes what it has not told with it: seconds' worth.
"""

from collections import deque
from dataclasses import dataclass, field

from rollout.endpoints import RECENT_SECONDS, EndpointCalls
from rollout.model import Reply

TROUBLE_CHARACTERS = 500

_Sums = tuple[int, int, int, float]
"""Calls, prompt and completion tokens, seconds."""


FORGET_SECONDS = 3600.0
"""Counts with nothing new for so long are forgotten here; what comes after is counted under a name of its own."""


class Tally:
    """`worker` names this process and no other. `now` is Unix seconds by the database's clock."""

    def __init__(self, worker: str) -> None:
        self.worker = worker
        self._counts: dict[tuple[str, str], _Count] = {}
        self._made = 0

    def told(self, run: str, model: str, endpoint: str, came: Reply | Exception) -> None:
        count = self._counts.get((run, endpoint))
        if count is None:
            self._made += 1
            count = self._counts[run, endpoint] = _Count(model, f"{self.worker}/{self._made}")
        count.changed = True
        if isinstance(came, Reply):
            count.calls += 1
            count.prompt_tokens += came.usage.prompt_tokens
            count.completion_tokens += came.usage.completion_tokens or len(came.output_token_ids or ())
            count.cached_tokens += came.usage.cached_tokens
            count.seconds += came.seconds
        else:
            count.failures += 1
            count.trouble, count.new_trouble = str(came)[:TROUBLE_CHARACTERS], True

    def changed(self, now: float) -> list[EndpointCalls]:
        """What is new since the last time."""
        for key, count in list(self._counts.items()):
            if not count.changed and now - count.history[-1][0] > FORGET_SECONDS:
                del self._counts[key]
        return [count.row(*key, now) for key, count in self._counts.items() if count.changed]

    def keep(self, rows: list[EndpointCalls]) -> None:
        """These could not be told: tell them again."""
        for row in rows:
            self._counts[row.run, row.endpoint].changed = True


@dataclass
class _Count:
    model: str
    worker: str
    calls: int = 0
    failures: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    seconds: float = 0.0
    trouble: str = ""
    troubled: float | None = None
    new_trouble: bool = False
    changed: bool = False
    history: deque[tuple[float, _Sums]] = field(default_factory=lambda: deque([(0.0, (0, 0, 0, 0.0))]))
    """What there was at earlier tellings, the oldest of them a minute ago or more."""

    def row(self, run: str, endpoint: str, now: float) -> EndpointCalls:
        self.changed = False
        if self.new_trouble:
            self.troubled, self.new_trouble = now, False
        while len(self.history) > 1 and self.history[1][0] <= now - RECENT_SECONDS:
            self.history.popleft()
        calls, prompt, completion, seconds = self.history[0][1]
        self.history.append((now, (self.calls, self.prompt_tokens, self.completion_tokens, self.seconds)))
        return EndpointCalls(
            run=run,
            endpoint=endpoint,
            worker=self.worker,
            model=self.model,
            calls=self.calls,
            failures=self.failures,
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            cached_tokens=self.cached_tokens,
            seconds=self.seconds,
            recent_calls=self.calls - calls,
            recent_prompt_tokens=self.prompt_tokens - prompt,
            recent_completion_tokens=self.completion_tokens - completion,
            recent_seconds=self.seconds - seconds,
            trouble=self.trouble,
            troubled=self.troubled,
            at=now,
        )
