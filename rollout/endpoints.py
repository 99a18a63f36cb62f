"""Model endpoints as all processes know them: who may be asked, what the calls came to, how each one is."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

FRESH_SECONDS = 10.0
"""What a process told of an endpoint is how it is for so long."""
RECENT_SECONDS = 60.0
"""What counts as recent."""


@dataclass(frozen=True)
class EndpointEntry:
    """An endpoint that was added, changed or removed while the service runs. It holds no key."""

    base_url: str
    run: str = ""
    """The only run that it is for; "" for every run that names no endpoints of its own."""
    model: str = ""
    """The only model that it is asked for; "" for any."""
    slots: int | None = None
    """Model calls in flight to begin with, in each process; None for the setting."""
    at_once: int | None = None
    """Model calls in flight at most, in all processes together; None for no bound of ours."""
    removed: bool = False
    """Nobody asks it, whoever names it."""
    changed: float = 0.0


@dataclass(frozen=True)
class EndpointCalls:
    """What one process's calls to an endpoint for a run came to."""

    run: str
    endpoint: str
    worker: str
    model: str
    calls: int
    """Answered."""
    failures: int
    """Requests that failed, tried again or not."""
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    seconds: float
    """Of the answered calls, summed."""
    recent_calls: int
    recent_prompt_tokens: int
    recent_completion_tokens: int
    recent_seconds: float
    trouble: str
    """The last failure's words."""
    troubled: float | None
    """When that was."""
    at: float


@dataclass(frozen=True)
class EndpointState:
    """How one process sees an endpoint (`member.Status`)."""

    endpoint: str
    worker: str
    state: str
    slots: int
    in_flight: int
    waiting: int
    trouble: str
    at: float


@dataclass(frozen=True)
class EndpointUse:
    """One endpoint over all processes: for one run, or for all."""

    endpoint: str
    calls: int = 0
    failures: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    seconds: float = 0.0
    recent_calls: int = 0
    recent_prompt_tokens: int = 0
    recent_completion_tokens: int = 0
    recent_seconds: float = 0.0
    trouble: str = ""
    troubled: float | None = None
    state: str = "idle"
    """The worst that a process tells now; `idle` where none does."""
    slots: int = 0
    in_flight: int = 0
    waiting: int = 0
    workers: int = 0
    """Processes that tell of it now."""

    @property
    def seconds_per_call(self) -> float | None:
        """Over the last minute, or else over all."""
        if self.recent_calls:
            return self.recent_seconds / self.recent_calls
        return self.seconds / self.calls if self.calls else None


_WORST = ("failing", "trying", "resting", "well")


def uses(
    calls: Iterable[EndpointCalls], states: Iterable[EndpointState], now: float, model_calls_of_run: bool = False
) -> tuple[EndpointUse, ...]:
    """By endpoint, summed. With `model_calls_of_run` only endpoints that `calls` names are told of."""
    summed: dict[str, dict[str, float]] = {}
    troubles: dict[str, tuple[float, str]] = {}
    for row in calls:
        sums = summed.setdefault(row.endpoint, dict.fromkeys(_SUMMED, 0))
        for name in _SUMMED:
            if not name.startswith("recent_") or now - row.at < RECENT_SECONDS:
                sums[name] += getattr(row, name)
        if row.troubled is not None:
            troubles[row.endpoint] = max(troubles.get(row.endpoint, (0.0, "")), (row.troubled, row.trouble))
    told: dict[str, list[EndpointState]] = {}
    for state in states:
        if now - state.at < FRESH_SECONDS:
            told.setdefault(state.endpoint, []).append(state)
    made = []
    for endpoint in sorted(summed if model_calls_of_run else {*summed, *told}):
        here = told.get(endpoint, [])
        troubled, trouble = troubles.get(endpoint, (None, ""))
        made.append(
            EndpointUse(
                endpoint=endpoint,
                **summed.get(endpoint, {}),  # type: ignore[arg-type]
                trouble=trouble,
                troubled=troubled,
                state=min((s.state for s in here), key=_WORST.index, default="idle"),
                slots=sum(s.slots for s in here),
                in_flight=sum(s.in_flight for s in here),
                waiting=sum(s.waiting for s in here),
                workers=len(here),
            )
        )
    return tuple(made)


_SUMMED = (
    "calls",
    "failures",
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
    "seconds",
    "recent_calls",
    "recent_prompt_tokens",
    "recent_completion_tokens",
    "recent_seconds",
)


def share(bound: int, weights: Mapping[str, int], mine: str) -> int:
    """What one process may have of a bound that all share: in proportion to the weights, the remainder by name; never
    less than one, or its rollouts would stand still. Each process comes to the same parts."""
    total = sum(weights.values())
    if total <= weights.get(mine, 0):
        return bound
    exact = {name: bound * weight / total for name, weight in weights.items()}
    left = bound - sum(int(part) for part in exact.values())
    first = sorted(exact, key=lambda name: (int(exact[name]) - exact[name], name))[:left]
    return max(int(exact.get(mine, 0)) + (mine in first), 1)
