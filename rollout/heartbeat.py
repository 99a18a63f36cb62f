"""How a worker is heard of: its leases are renewed, and those of workers that fell silent are taken back."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

from rollout.database import StepClock
from rollout.runs import Claim
from rollout.store import Store

log = logging.getLogger(__name__)

LATE = 2 / 3
"""Of a lease. A beat comes each third of one: whoever was kept from two of them cannot tell who is silent from who was
kept from them as well."""


class Heartbeat:
    """One worker's, called each third of `lease` seconds, of a clock that only runs forward. It has a thread of its
    own: behind the results of many jobs that end at once, leases would run out."""

    def __init__(self, store: Store, lease: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.store = store
        self.lease = lease
        self._monotonic = monotonic
        self._clock = StepClock(monotonic, lease / 3)
        self._clock_was_set = False
        """And the leases do not know of it yet."""
        self._beaten = monotonic()
        self._waits_until: float | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="heartbeat")

    async def __call__(self, claims: tuple[Claim, ...]) -> Mapping[Claim, Literal["cancelled", "lost"]]:
        """`beat`, without holding up the loop."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self.beat, claims)

    def close(self) -> None:
        self._thread.shutdown(wait=False)

    def beat(self, claims: tuple[Claim, ...]) -> Mapping[Claim, Literal["cancelled", "lost"]]:
        """Renew these, and take back what ran out. Returns those that are no longer held, and why."""
        now = self.store.now()
        self._clock_was_set |= self._clock.stepped(now)
        if self._clock_was_set:
            log.warning("the clock was set; every lease starts anew")
            self.store.settle_clock(now, self.lease)
            self._clock_was_set = False
        gone = self.store.renew(claims, now, self.lease)
        if self._others_were_heard():
            self.store.reap_expired(now)
        return gone

    def _others_were_heard(self) -> bool:
        """Not so after a time without the database, which the others had to do without too: they get a lease's time.
        Once: where each beat is late, what is lost must be taken back all the same."""
        at = self._monotonic()
        late, self._beaten = at - self._beaten > LATE * self.lease, at
        if self._waits_until is None:
            self._waits_until = at + self.lease if late else None
            return not late
        if at < self._waits_until:
            return False
        self._waits_until = None
        return True
