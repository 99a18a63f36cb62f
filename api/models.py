"""The models of this process: one endpoint pool for each model and set of base URLs, shared by its runs."""

import time
from collections.abc import Mapping, Sequence

from api.endpoints import key_for, urls_of
from api.settings import Settings
from rollout.member import Endpoint, Status
from rollout.model import Model
from rollout.pool import Pool
from rollout.runs import RunSpec
from rollout.transport import Transport

IDLE_SECONDS = 3600.0
"""A pool that no rollout has asked for in so long, and that has nothing in flight, is closed."""


class Models:
    """Called by the rollout handler with a run's spec. Use as `async with`: it closes its pools."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._pools: dict[tuple[str, tuple[str, ...]], Pool] = {}
        self._asked: dict[tuple[str, tuple[str, ...]], float] = {}
        self._http: Transport

    def __call__(self, spec: RunSpec) -> Model:
        return self.pool(spec.model, spec.base_urls)

    def pool(self, model: str, base_urls: Sequence[str]) -> Model:
        """No base URLs mean those of the settings. Raises `Problem` where there are none either."""
        key = (model, urls_of(self.settings, base_urls))
        self._asked[key] = time.monotonic()
        if key not in self._pools:
            endpoints = tuple(Endpoint(url, key_for(self.settings, url)) for url in key[1])
            self._pools[key] = Pool(model, endpoints, http=self._http)
        return self._pools[key]

    def status(self) -> Mapping[str, tuple[Status, ...]]:
        """Each model's endpoints as they stand."""
        found: dict[str, tuple[Status, ...]] = {}
        for (model, _), pool in self._pools.items():
            found[model] = (*found.get(model, ()), *pool.status())
        return found

    async def close_idle(self) -> None:
        now = time.monotonic()
        for key, pool in list(self._pools.items()):
            busy = pool.stranded or any(s.in_flight or s.waiting for s in pool.status())
            if not busy and now - self._asked[key] > IDLE_SECONDS:
                del self._pools[key], self._asked[key]
                await pool.close()

    async def __aenter__(self) -> "Models":
        self._http = Transport()
        return self

    async def __aexit__(self, *_: object) -> None:
        for pool in self._pools.values():
            await pool.close()
        self._pools.clear()
        await self._http.close()
