"""One endpoint as its pool sees it: its bound, its queue, its health, its counts."""

import asyncio
from collections import deque
from dataclasses import dataclass, field, replace
from typing import Literal

from rollout.balance import Breaker, Pace, Standing
from rollout.capacity import Bounds, EngineLoad, adjust
from rollout.client import ChatClient
from rollout.gate import Gate
from rollout.model import Reply
from rollout.retry import Trouble


@dataclass(frozen=True)
class Endpoint:
    """Where one copy of the model answers."""

    base_url: str
    api_key: str | None = field(default=None, repr=False)
    slots: int = 64
    """Calls in flight to begin with; vLLM's own figures move it within `Policy.bounds`."""
    gate: Gate = field(default_factory=Gate, compare=False, repr=False)
    """Bounds the calls of all pools that share it."""


@dataclass(frozen=True)
class Status:
    """One endpoint for progress reports and the dashboard."""

    url: str
    state: Literal["well", "resting", "failing", "trying"]
    """`resting`: it asked to be left alone; `failing`: its breaker is open; `trying`: one call may see."""
    slots: int
    in_flight: int
    waiting: int
    requests: int
    failures: int
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    """Estimated for one call."""
    engine: EngineLoad | None
    last_trouble: str


class Member:
    """An endpoint's state, changed only by its pool."""

    def __init__(self, endpoint: Endpoint, client: ChatClient, breaker: Breaker) -> None:
        self.endpoint = endpoint
        self.client = client
        self.url = client.endpoint
        self.slots = float(endpoint.slots)
        self.ceiling = float(endpoint.slots)
        """What the bound grows back to, one call at a time, after a 429 from an engine without figures."""
        self.queue: deque[asyncio.Future[Member]] = deque()
        self.breaker = breaker
        self.pace = Pace()
        self.engine: EngineLoad | None = None
        self.resting_until = 0.0
        self.trimmed = 0.0
        """When a 429 last lowered the bound."""
        self.in_flight = self.requests = self.failures = self.prompt_tokens = self.completion_tokens = 0
        self.left_behind = 0
        """Calls in flight that began before the breaker opened: some may hang for as long as a timeout allows, and say
        nothing of how the endpoint is now."""
        self.answered = -1.0
        """When it last did; negative before."""
        self.last_trouble = ""

    def admits(self, now: float) -> bool:
        return now >= self.resting_until and self.breaker.admits(now, self.in_flight - self.left_behind)

    def has_room(self, now: float) -> bool:
        return self.admits(now) and self.in_flight < int(self.slots) and self.endpoint.gate.has_room

    def enter(self) -> None:
        self.in_flight += 1
        self.endpoint.gate.enter()

    def leave(self, began: float) -> None:
        """A call that began then has ended."""
        self.in_flight -= 1
        if self.left_behind and self.breaker.opened is not None and began <= self.breaker.opened:
            self.left_behind -= 1
        # One that had its slot before the breaker opened may have begun just after.
        self.left_behind = min(self.left_behind, self.in_flight)
        self.endpoint.gate.leave()

    def change(self, endpoint: Endpoint, client: ChatClient) -> None:
        """Other slots, another key: from the next call on."""
        if endpoint.slots != self.endpoint.slots:
            self.slots = self.ceiling = float(endpoint.slots)
        self.endpoint, self.client = endpoint, client

    @property
    def bound(self) -> float:
        """Calls in flight at most, as things are now."""
        gate = self.endpoint.gate.bound
        return self.slots if gate is None else min(self.slots, max(gate, 1))

    def standing(self, now: float, usual: float) -> Standing:
        return Standing(
            url=self.url,
            seconds=self.pace.estimate(usual),
            in_flight=self.in_flight,
            waiting=len(self.queue),
            slots=self.bound,
            failures=self.breaker.failures,
            available=self.admits(now),
        )

    def served(self, reply: Reply, now: float) -> None:
        self.answered = now
        self.breaker = self.breaker.succeeded()
        self.pace = self.pace.after(reply.seconds)
        self.requests += 1
        self.prompt_tokens += reply.usage.prompt_tokens
        self.completion_tokens += reply.usage.completion_tokens
        if self.slots < self.ceiling:
            self.slots = min(self.slots + 1 / self.slots, self.ceiling)

    def troubled(self, trouble: Trouble, began: float, now: float) -> None:
        """A 429 is no sign of illness, but of one call too many: all calls that were out then count once."""
        self.requests += 1
        self.failures += 1
        self.last_trouble = str(trouble)
        if trouble.kind != "busy":
            self._failed(began, now)
            return
        self.resting_until = max(self.resting_until, now + (trouble.after or 0.0))
        if began >= self.trimmed:
            self.slots, self.trimmed = max(min(self.slots, self.in_flight) * 0.75, 1.0), now

    def cut_off(self, words: str, began: float, now: float, usual: float) -> None:
        """Its rollout's clock ended a call that began then. Where it took longer than calls do, and nobody was answered
        since, the endpoint may hang."""
        if self.answered < began and now - began > 2 * self.pace.estimate(usual):
            self.last_trouble = words
            self._failed(began, now)

    def _failed(self, began: float, now: float) -> None:
        opened = self.breaker.opened
        self.breaker = self.breaker.failed(began, now)
        if self.breaker.opened != opened:
            self.left_behind = self.in_flight

    def read(self, load: EngineLoad | None, now: float, bounds: Bounds) -> None:
        """A reading of the engine's figures, or a failure to read them."""
        if load is not None:
            self.engine = load
            bounds = replace(bounds, most=max(bounds.most, self.endpoint.slots))
            self.slots = self.ceiling = adjust(self.slots, self.in_flight, load, now, bounds)

    def status(self, now: float, usual: float) -> Status:
        state: Literal["well", "resting", "failing", "trying"] = "well"
        if self.breaker.opened is not None:
            state = "failing" if now < self.breaker.until else "trying"
        elif now < self.resting_until:
            state = "resting"
        return Status(
            url=self.url,
            state=state,
            slots=int(self.bound),
            in_flight=self.in_flight,
            waiting=len(self.queue),
            requests=self.requests,
            failures=self.failures,
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            seconds=self.pace.estimate(usual),
            engine=self.engine,
            last_trouble=self.last_trouble,
        )
