"""Which endpoint gets a call: pure decisions over how fast, how full and how well each one is."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Breaker:
    """Keeps calls off an endpoint that fails.

    Closed, it lets all through; after `threshold` failures in a row it opens; when its time is over one call may
    try. Any success closes it. Seconds are of the pool's clock.
    """

    threshold: int = 3
    cooldown: float = 5.0
    """The first time; doubled for each opening in a row, up to `longest`."""
    longest: float = 60.0
    failures: int = 0
    openings: int = 0
    opened: float | None = None
    until: float = 0.0

    def failed(self, began: float, now: float) -> "Breaker":
        """After a failed call. One that began before the breaker opened says nothing new."""
        if self.opened is not None and began < self.opened:
            return self
        failures = self.failures + 1
        if failures < self.threshold:
            return self._with(failures, self.openings, None, 0.0)
        rest = min(self.longest, self.cooldown * 2.0 ** min(self.openings, 16))
        return self._with(failures, self.openings + 1, now, now + rest)

    def succeeded(self) -> "Breaker":
        return self._with(0, 0, None, 0.0) if self.failures else self

    def admits(self, now: float, trying: int) -> bool:
        """`trying`: calls in flight that began since it opened."""
        return self.opened is None or (now >= self.until and trying == 0)

    def _with(self, failures: int, openings: int, opened: float | None, until: float) -> "Breaker":
        return Breaker(self.threshold, self.cooldown, self.longest, failures, openings, opened, until)


BREAKER = Breaker()


@dataclass(frozen=True)
class Pace:
    """Seconds that a call takes, over about the last 32 calls."""

    total: float = 0.0
    weight: float = 0.0

    def after(self, seconds: float) -> "Pace":
        return Pace(self.total * 31 / 32 + seconds, self.weight * 31 / 32 + 1)

    def estimate(self, usual: float) -> float:
        """Few calls say little: they are weighed against eight of the pool's `usual` ones."""
        return (self.total + 8 * usual) / (self.weight + 8)


@dataclass(frozen=True)
class Standing:
    """What a choice looks at."""

    url: str
    seconds: float
    """Estimated for one call, once it has a slot."""
    in_flight: int
    waiting: int
    slots: float
    failures: int = 0
    """In a row."""
    available: bool = True

    @property
    def cost(self) -> float:
        """Seconds that one more call is expected to take, its wait for a slot included.

        Below its bound an engine still slows down with load: half as much again when full.
        """
        load = (self.in_flight + self.waiting + 1) / self.slots
        return self.seconds * (max(1.0, load) + min(1.0, load) / 2) * (1 + self.failures)


def choose(standings: Iterable[Standing], home: str | None, shed: float) -> str | None:
    """The endpoint of a rollout's next call: the one that holds its prefix cache, unless that costs more than `shed`
    times the cheapest. None where none is available."""
    able = {s.url: s for s in standings if s.available}
    if not able:
        return None
    best = min(able.values(), key=lambda s: (s.cost, s.url))
    stay = able.get(home or "")
    return stay.url if stay is not None and stay.cost <= shed * best.cost else best.url
