"""The accounts of a run: what came in equals what stands somewhere, at every moment."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from envs.errors import FailureClass
from rollout.endpoints import RECENT_SECONDS, EndpointUse


@dataclass(frozen=True)
class Accounts:
    """`submitted` is counted where tasks come in, the others where jobs stand, so `closes` can be false."""

    submitted: int = 0
    queued: int = 0
    running: int = 0
    succeeded: int = 0
    failed: Mapping[FailureClass, int] = field(default_factory=dict)
    """By class; classes without any are left out."""
    cancelled: int = 0

    @property
    def failures(self) -> int:
        return sum(self.failed.values())

    @property
    def ended(self) -> int:
        return self.succeeded + self.failures + self.cancelled

    @property
    def closes(self) -> bool:
        return self.submitted == self.queued + self.running + self.ended

    def as_dict(self) -> dict[str, Any]:
        return {
            "submitted": self.submitted,
            "queued": self.queued,
            "running": self.running,
            "succeeded": self.succeeded,
            "failed": dict(self.failed),
            "cancelled": self.cancelled,
            "closes": self.closes,
        }


@dataclass(frozen=True)
class Progress:
    """How a run comes along. Calls and tokens are those that its processes made and told of, seconds ago at most:
    those of failed attempts too, since all was paid for, and none that was only replayed."""

    accounts: Accounts
    endpoints: tuple[EndpointUse, ...]
    rollouts_per_second: float
    """Ended with a whole trajectory, over the window asked for."""
    reason: str = ""
    """Why nothing comes along, where that is known."""

    @property
    def calls(self) -> int:
        return sum(use.calls for use in self.endpoints)

    @property
    def prompt_tokens(self) -> int:
        return sum(use.prompt_tokens for use in self.endpoints)

    @property
    def completion_tokens(self) -> int:
        return sum(use.completion_tokens for use in self.endpoints)

    @property
    def cached_tokens(self) -> int:
        """Of `prompt_tokens`, those that the endpoint had in its prefix cache, where it tells."""
        return sum(use.cached_tokens for use in self.endpoints)

    @property
    def prompt_tokens_per_second(self) -> float:
        return sum(use.recent_prompt_tokens for use in self.endpoints) / RECENT_SECONDS

    @property
    def completion_tokens_per_second(self) -> float:
        return sum(use.recent_completion_tokens for use in self.endpoints) / RECENT_SECONDS

    @property
    def seconds_left(self) -> float | None:
        """At the rate of the window; None while nothing ends."""
        left = self.accounts.queued + self.accounts.running
        if not left:
            return 0.0
        return left / self.rollouts_per_second if self.rollouts_per_second else None


def accounts_of(submitted: int, counts: Iterable[tuple[str, str | None, int]]) -> Accounts:
    """From what came in and rows of (state, failure, count)."""
    states: dict[str, int] = {}
    failed: dict[Any, int] = {}
    for state, failure, count in counts:
        if state == "failed":
            failed[failure] = failed.get(failure, 0) + count
        else:
            states[state] = states.get(state, 0) + count
    return Accounts(
        submitted=submitted,
        queued=states.get("queued", 0),
        running=states.get("running", 0),
        succeeded=states.get("succeeded", 0),
        failed=dict(sorted(failed.items())),
        cancelled=states.get("cancelled", 0),
    )
