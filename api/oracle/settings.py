"""What an oracle may be told: how fast, how faulty, how wrong, how roundabout."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from api.oracle.planted import Plant

ReasoningForm = Literal["none", "field", "think"]


def _check_share(name: str, share: float) -> None:
    if not 0 <= share <= 1:
        raise ValueError(f"{name} is a share between 0 and 1, not {share}")


@dataclass(frozen=True)
class Faults:
    """Shares between 0 and 1. The first four are of requests, and a request that is tried again draws again;
    their sum is at most 1. The last two are of replies that call a tool."""

    rate_limited: float = 0.0
    """429 with Retry-After."""
    server_error: float = 0.0
    """500."""
    reset: float = 0.0
    """The connection is reset before any byte of an answer."""
    hang: float = 0.0
    """The request is accepted and never answered."""
    malformed: float = 0.0
    """Tool arguments that are cut JSON, `[]`, or an object with a wrong key."""
    unparsed: float = 0.0
    """Tool calls left in `content` as `<tool_call>` JSON, as servers without the right parser leave them; never
    with broken arguments, which nobody could recover."""

    def __post_init__(self) -> None:
        for one in fields(self):
            _check_share(one.name, getattr(self, one.name))
        if self.rate_limited + self.server_error + self.reset + self.hang > 1:
            raise ValueError("the shares of rate_limited, server_error, reset and hang add up to more than 1")


@dataclass(frozen=True)
class OracleSettings:
    """Everything that is drawn is drawn from `seed`, the task, the request's own `seed` and the turn."""

    seed: int = 0
    model: str = "oracle"
    latency: float = 0.0
    """Mean seconds before an answer."""
    jitter: float = 0.0
    """Largest deviation from `latency`, in seconds; drawn evenly."""
    retry_after: float = 1.0
    """Seconds that a 429 names."""
    faults: Faults = field(default_factory=Faults)
    wrong: float = 0.0
    """Share of samples that end with a near miss instead of the right answer."""
    detours: float = 0.0
    """Share of turns at which a step is taken that the task does not need."""
    teacher_reads: bool = False
    """Whether the teacher answers only what follows from the prompt (`api.oracle.reading`), for audits that take
    evidence away; otherwise it answers in any case."""
    planted: Mapping[str, Plant] | None = None
    """What it knows of single tasks where it is asked without tools, by their ids; goes before `teacher_reads`."""
    reasoning: ReasoningForm = "none"
    """Whether thoughts are told, in the `reasoning` field or as `<think>` in `content`."""
    slots: int | None = None
    """Requests answered at once; the rest wait, and /metrics says so. None means no bound."""
    kv_tokens: int = 1_000_000
    """Tokens that make a KV cache use of 1 in /metrics."""
    context_length: int | None = None
    """Approximate prompt tokens above which a request is refused as too long."""

    def __post_init__(self) -> None:
        _check_share("wrong", self.wrong)
        _check_share("detours", self.detours)
        for name in ("latency", "jitter", "retry_after"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is a number of seconds, not {getattr(self, name)}")
        for name in ("slots", "kv_tokens", "context_length"):
            value: Any = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")
