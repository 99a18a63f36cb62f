"""What runs beside the routes, in the service's own process and loop.

Embedded mode, without Redis: the engine, so that `trajc serve` alone does everything. With Redis: the pump, which
brings what is due to workers elsewhere.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from api.carrier.pumping import pump_jobs
from api.compile_jobs import requeue_forgotten
from api.run_recipes import compile_finished_runs
from api.service import Service
from api.work import at_work, beside
from rollout.runs import JobKind


@asynccontextmanager
async def embedded(service: Service) -> AsyncIterator[None]:
    """For as long as the context lives; at its end jobs in flight are ended or handed back."""
    settings = service.settings
    works: dict[str, Coroutine[Any, Any, None]] = {"recipes of runs": compile_finished_runs(service)}
    concurrency: dict[JobKind, int] = {
        "rollout": settings.concurrency,
        "generation": settings.concurrency,
        "compile_shard": settings.compile_workers,
    }
    if settings.redis_url is not None:
        works["pump"] = pump_jobs(service.store, settings.redis_url)
        if not settings.serve_works:
            concurrency = {}
    await asyncio.to_thread(requeue_forgotten, service)
    await asyncio.to_thread(service.blobs.remove_unfinished)
    async with at_work(service, concurrency), beside(works):
        yield
