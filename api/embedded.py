"""What runs beside the routes, in the service's own process and loop.

Embedded mode, without Redis: the engine, so that `trajc serve` alone does everything. With Redis: the pump, which
brings what is due to workers elsewhere.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from api.carrier.pumping import pump_jobs
from api.compile_jobs import requeue_forgotten
from api.run_recipes import compile_finished_runs
from api.service import Service
from api.work import at_work, beside
from rollout.runs import JobKind

log = logging.getLogger(__name__)

HOUR = 3600.0


@asynccontextmanager
async def embedded(service: Service) -> AsyncIterator[None]:
    """For as long as the context lives; at its end jobs in flight are ended or handed back."""
    settings = service.settings
    works: dict[str, Coroutine[Any, Any, None]] = {
        "recipes of runs": compile_finished_runs(service),
        "old events": forget_events(service),
    }
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


async def forget_events(service: Service, seconds: float = HOUR) -> None:
    """For ever: those that are older than the settings keep them."""
    while True:
        try:
            await asyncio.to_thread(service.store.trim_events, service.settings.event_days * 24 * HOUR)
        except SQLAlchemyError as e:
            log.warning("old events are not removed, trying again: %s", e)
        await asyncio.sleep(seconds)
