"""The models of this process: endpoint pools that its runs share, kept to what the database says of endpoints."""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

from sqlalchemy.exc import SQLAlchemyError

from api.endpoints import endpoints_of
from api.model_keys import key_for
from api.settings import Settings
from api.worker_name import worker_name
from envs.swe.engine.owner import this_process
from rollout.client import Timeouts
from rollout.endpoints import EndpointEntry, EndpointState, share
from rollout.gate import Gate
from rollout.member import Endpoint, Status
from rollout.model import Conversation, Model, ModelError, ModelRefused, ModelUnauthorised, Reply
from rollout.pool import Pool
from rollout.runs import Work
from rollout.store import Store
from rollout.tally import Tally
from rollout.transport import Transport

log = logging.getLogger(__name__)

IDLE_SECONDS = 3600.0
"""A pool that no rollout has asked for in so long, and that has nothing in flight, is closed."""
EXCHANGE_SECONDS = 2.0
"""Between two looks at the database: an endpoint that is added takes calls within about so long."""


@dataclass(frozen=True)
class PoolKey:
    model: str
    named: tuple[str, ...]
    """Base URLs; none for those of the installation."""
    run: str = ""
    """Where endpoints were added or removed for one run alone."""


class RunGate(Gate):
    """A run's own bound, of which this process has its part."""

    def __init__(self, whole: int) -> None:
        super().__init__(whole)
        self.whole = whole


class Models:
    """Called by the rollout handler with its work. Use as `async with`: it closes its pools. Without a store the
    endpoints are those of the settings, and nothing is told of the calls."""

    def __init__(self, settings: Settings, store: Store | None = None) -> None:
        self.settings = settings
        self.store = store
        self.tally = Tally(this_process())
        self._pools: dict[PoolKey, Pool] = {}
        self._asked: dict[PoolKey, float] = {}
        self._gates: dict[str, Gate] = {}
        self._runs: WeakValueDictionary[str, RunGate] = WeakValueDictionary()
        self._entries: tuple[EndpointEntry, ...] = ()
        self._others: tuple[EndpointState, ...] = ()
        self._told: list[EndpointState] = []
        self._complaints: set[str] = set()
        self._http: Transport

    def __call__(self, work: Work) -> Model:
        spec = work.spec
        gate: Gate = Gate()
        if spec.calls_at_once is not None:
            gate = self._runs.setdefault(work.run, RunGate(spec.calls_at_once))
        return OneModel(self, work.run, spec.model, spec.base_urls, gate)

    def pool(self, model: str, base_urls: Sequence[str]) -> Model:
        """For calls of no run. No base URLs mean those of the installation."""
        return OneModel(self, "", model, tuple(base_urls), Gate())

    def pool_of(self, run: str, model: str, named: tuple[str, ...]) -> Pool:
        """Raises `ModelError` where there is no endpoint to ask."""
        alone = bool(run) and any(entry.run == run for entry in self._entries)
        key = PoolKey(model, named, run if alone else "")
        self._asked[key] = time.monotonic()
        if key not in self._pools:
            endpoints = self._endpoints(key)
            if not endpoints:
                raise ModelError(
                    f"there is no endpoint for {model}: add one (`trajc endpoints add`), or set TRAJC_BASE_URL"
                )
            timeouts = Timeouts(total=self.settings.model_seconds)
            self._pools[key] = Pool(model, endpoints, http=self._http, timeouts=timeouts)
        return self._pools[key]

    async def follow(self) -> None:
        """For ever: tell the database, and do as it says."""
        while True:
            await asyncio.sleep(EXCHANGE_SECONDS)
            await self.exchange()

    async def exchange(self) -> None:
        if self.store is None:
            return
        calls, states = self.tally.changed(self.store.now()), self._states()
        busy = any(s.in_flight or s.waiting for s in states) or any(pool.stranded for pool in self._pools.values())
        news = states if busy or states != self._told else []
        try:
            self._entries, self._others, hands = await asyncio.to_thread(
                self.store.exchange, self.tally.worker, calls, news, tuple(self._runs)
            )
        except SQLAlchemyError as e:
            self.tally.keep(calls)
            log.warning("the database hears nothing of model calls, trying again: %s", e)
            return
        self._told = states
        for key, pool in self._pools.items():
            try:
                pool.become(self._endpoints(key))
            except ModelRefused as e:
                self._complain(str(e))
        for run, gate in self._runs.items():
            if run in hands:
                gate.bound = share(gate.whole, {worker_name(): 1, **hands[run]}, worker_name())

    def _complain(self, words: str) -> None:
        """Once of each."""
        if words not in self._complaints:
            self._complaints.add(words)
            log.error("%s; it is asked as it was before", words)

    async def close_idle(self) -> None:
        now = time.monotonic()
        for key, pool in list(self._pools.items()):
            busy = pool.stranded or any(s.in_flight or s.waiting for s in pool.status())
            if not busy and now - self._asked[key] > IDLE_SECONDS:
                del self._pools[key], self._asked[key]
                await pool.close()

    async def __aenter__(self) -> "Models":
        self._http = Transport()
        await self.exchange()
        return self

    async def __aexit__(self, *_: object) -> None:
        for pool in self._pools.values():
            await pool.close()
        await self.exchange()
        self._pools.clear()
        await self._http.close()

    def _endpoints(self, key: PoolKey) -> list[Endpoint]:
        return [
            self._endpoint(one) for one in endpoints_of(self.settings, self._entries, key.model, key.named, key.run)
        ]

    def _endpoint(self, one: EndpointEntry) -> Endpoint:
        gate = self._gates.setdefault(one.base_url, Gate())
        if one.at_once is None:
            gate.bound = None
        else:
            asking = {s.worker: 1 for s in self._others if s.endpoint == one.base_url}
            gate.bound = share(one.at_once, asking | {self.tally.worker: 1}, self.tally.worker)
        key = key_for(self.settings, one.base_url)
        return Endpoint(one.base_url, key, slots=one.slots or self.settings.model_slots, gate=gate)

    def _states(self) -> list[EndpointState]:
        """One for each endpoint, whichever pools ask it."""
        found: dict[str, list[Status]] = {}
        for pool in self._pools.values():
            for status in pool.status():
                found.setdefault(status.url, []).append(status)
        return [
            EndpointState(
                endpoint=url,
                worker=self.tally.worker,
                state=max(several, key=lambda s: s.requests).state,
                slots=sum(s.slots for s in several),
                in_flight=sum(s.in_flight for s in several),
                waiting=sum(s.waiting for s in several),
                trouble=next((s.last_trouble for s in several if s.last_trouble), "")[:500],
                at=0.0,
            )
            for url, several in found.items()
        ]


class OneModel:
    """A `Model`: one run's, whatever pool it is asked through at the moment."""

    def __init__(self, models: Models, run: str, model: str, named: tuple[str, ...], gate: Gate) -> None:
        self.name = model
        self._models = models
        self._run = run
        self._named = named
        self._gate = gate

    async def complete(self, conversation: Conversation, sampling: dict[str, Any]) -> Reply:
        """As `Model`. What it waits for its run's turn counts towards no limit."""
        async with self._gate:
            pool = self._models.pool_of(self._run, self.name, self._named)
            try:
                return await pool.complete(conversation, sampling, self._told)
            except ModelUnauthorised as e:
                raise ModelUnauthorised(
                    f"{e}; the key is TRAJC_MODEL_KEY, or the one that the file of TRAJC_MODEL_KEYS names for this URL"
                ) from None

    def _told(self, endpoint: str, came: Reply | Exception) -> None:
        self._models.tally.told(self._run, self.name, endpoint, came)
