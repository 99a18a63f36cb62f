"""The models of this process: one endpoint pool for each model and set of base URLs, shared by its runs."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from api.endpoints import key_for, urls_of
from api.settings import Settings
from rollout.member import Endpoint, Status
from rollout.model import Conversation, Model, Reply
from rollout.pool import Pool
from rollout.runs import RunSpec

IDLE_SECONDS = 600.0
"""A pool that served no call for so long is closed."""


class Models:
    """Called by the rollout handler with a run's spec. Use as `async with`: it closes its pools."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._pools: dict[tuple[str, tuple[str, ...]], PooledModel] = {}

    def __call__(self, spec: RunSpec) -> Model:
        urls = urls_of(self.settings, spec.base_urls)
        if (spec.model, urls) not in self._pools:
            endpoints = tuple(Endpoint(url, key_for(self.settings, url)) for url in urls)
            self._pools[spec.model, urls] = PooledModel(Pool(spec.model, endpoints))
        return self._pools[spec.model, urls]

    def status(self) -> Mapping[str, tuple[Status, ...]]:
        """Each model's endpoints as they stand."""
        found: dict[str, tuple[Status, ...]] = {}
        for (model, _), pooled in self._pools.items():
            found[model] = (*found.get(model, ()), *pooled.pool.status())
        return found

    async def close_idle(self) -> None:
        for key, pooled in list(self._pools.items()):
            if pooled.idle_seconds > IDLE_SECONDS:
                del self._pools[key]
                await pooled.close()

    async def __aenter__(self) -> "Models":
        return self

    async def __aexit__(self, *_: object) -> None:
        for pooled in self._pools.values():
            await pooled.close()
        self._pools.clear()


class PooledModel:
    """A `Model` whose pool opens with the first call."""

    def __init__(self, pool: Pool) -> None:
        self.name = pool.name
        self.pool = pool
        self._opening = asyncio.Lock()
        self._open = False
        self._in_flight = 0
        self._used = time.monotonic()

    @property
    def idle_seconds(self) -> float:
        return 0.0 if self._in_flight else time.monotonic() - self._used

    async def complete(self, conversation: Conversation, sampling: dict[str, Any]) -> Reply:
        self._in_flight += 1
        try:
            async with self._opening:
                if not self._open:
                    await self.pool.__aenter__()
                    self._open = True
            return await self.pool.complete(conversation, sampling)
        finally:
            self._in_flight -= 1
            self._used = time.monotonic()

    async def close(self) -> None:
        if self._open:
            self._open = False
            await self.pool.__aexit__(None, None, None)
