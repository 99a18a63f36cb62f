"""When to ask again: a pure decision, and the loop that acts on it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Literal

from rollout.model import ModelError, Reply

TroubleKind = Literal["busy", "server", "timeout", "connection", "garbled"]
"""429; 5xx; no answer in time; refused, reset or cut off; an answer that is no completion."""


class Trouble(Exception):
    """One request failed in a way that the next one may not."""

    def __init__(self, kind: TroubleKind, words: str, after: float | None = None) -> None:
        super().__init__(words)
        self.kind: TroubleKind = kind
        self.after = after
        """Seconds that the server asked to be left alone for."""


@dataclass(frozen=True)
class Backoff:
    """Exponential with full jitter; `base` and `cap` in seconds. A server's own Retry-After is a floor."""

    attempts: int = 6
    busy_attempts: int = 20
    """For 429: the server is well and asks for patience."""
    timeout_attempts: int = 2
    """A timeout has cost minutes already."""
    base: float = 0.5
    cap: float = 30.0
    longest_after: float = 120.0

    def delay(self, trouble: Trouble, attempt: int, chance: float) -> float | None:
        """Seconds to wait after failed attempt number `attempt` (from 1), or None to give up.

        `chance` is a random number in [0, 1).
        """
        allowed = {"busy": self.busy_attempts, "timeout": self.timeout_attempts}.get(trouble.kind, self.attempts)
        if attempt >= allowed:
            return None
        jitter = chance * min(self.cap, self.base * 2.0 ** min(attempt - 1, 32))
        return min(trouble.after or 0.0, self.longest_after) + jitter


BACKOFF = Backoff()


NO_WAIT = 0.001
"""Seconds below which a reply did not wait."""


async def persist(
    once: Callable[[], Awaitable[Reply]],
    backoff: Backoff,
    *,
    chance: Callable[[], float],
    clock: Callable[[], float],
    sleep: Callable[[float], Awaitable[None]],
) -> Reply:
    """Ask until there is a reply. Raises `ModelError` when the backoff gives up; other errors pass through."""
    began, attempt = clock(), 0
    while True:
        attempt += 1
        try:
            reply = await once()
        except Trouble as trouble:
            delay = backoff.delay(trouble, attempt, chance())
            if delay is None:
                raise ModelError(f"{trouble} (gave up after {attempt} attempts)") from None
            await sleep(delay)
        else:
            waited = clock() - began - reply.seconds
            return reply if attempt == 1 and waited < NO_WAIT else replace(reply, attempts=attempt, waited=waited)
