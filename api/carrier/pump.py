"""The pump: for each job that is due, a message; never more of them than a window holds.

It is its own reconciler. A message is taken for lost, and sent again, when its job is still due a while later though
nothing waits in its queue: Redis lost it, or a busy worker holds it while others have nothing to do. A message too
many is harmless, because a claim compares the attempt.
"""

import logging
import time
from collections.abc import Callable
from typing import Protocol

from api.carrier.app import QUEUES
from rollout.runs import JobKind
from rollout.store import Store

log = logging.getLogger(__name__)

WINDOW = 1000
"""Messages that wait in one queue at most."""
AGAIN_SECONDS = 5.0
"""How long after its message a job that is still due gets another."""


class CarrierAway(Exception):
    """What carries the messages does not answer."""


class Carrier(Protocol):
    """Brings messages to workers. Raises `CarrierAway` while it cannot."""

    def leads(self) -> bool:
        """Whether this pump is the one that works; asked again at each turn, it stays so. Two at once do no harm."""
        ...

    def waiting(self, queue: str) -> int:
        """Messages that no worker has fetched."""
        ...

    def send(self, queue: str, job: str, attempt: int) -> None: ...

    def clear(self, queue: str) -> None:
        """Take back the messages that no worker has fetched."""
        ...


class Pump:
    """`turn` is called every second or so, and when something was queued."""

    def __init__(
        self,
        store: Store,
        carrier: Carrier,
        *,
        window: int = WINDOW,
        again_seconds: float = AGAIN_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.store = store
        self.carrier = carrier
        self.window = window
        self.again_seconds = again_seconds
        self._monotonic = monotonic
        self._sent: dict[JobKind, dict[tuple[str, int], float]] = {kind: {} for kind in QUEUES}
        self._urgency: dict[JobKind, int | None] = {}
        self._away = False

    def turn(self) -> int:
        """Send what is due and not under way. Returns the number of messages; 0 while Redis is away."""
        try:
            sent = sum(self._fill(kind, queue) for kind, queue in QUEUES.items()) if self.carrier.leads() else 0
        except CarrierAway as e:
            if not self._away:
                log.warning("Redis does not answer (%s): workers claim from the database until it does", e)
            self._away = True
            return 0
        if self._away:
            log.warning("Redis answers again")
        self._away = False
        return sent

    def _fill(self, kind: JobKind, queue: str) -> int:
        waiting = self.carrier.waiting(queue)
        if self._more_urgent(kind) and waiting:
            self.carrier.clear(queue)
            self._sent[kind], waiting = {}, 0
        if waiting >= self.window:
            return 0
        due = self.store.due((kind,), self.window, self.store.now())
        now = self._monotonic()
        before = self._sent[kind]
        sent = {
            key: before[key] for key in due if key in before and (waiting or now - before[key] < self.again_seconds)
        }
        self._sent[kind] = sent
        new = [key for key in due if key not in sent][: self.window - waiting]
        for job, attempt in new:
            self.carrier.send(queue, job, attempt)
            sent[job, attempt] = now
        return len(new)

    def _more_urgent(self, kind: JobKind) -> bool:
        """Whether what is due now is more urgent than anything was at the last turn. A queue gives its messages in the
        order they came in, and those of long rollouts wait for hours: they are taken back, and sent in a new order."""
        urgency = self.store.urgency((kind,), self.store.now())
        before, self._urgency[kind] = self._urgency.get(kind), urgency
        return urgency is not None and before is not None and urgency > before
