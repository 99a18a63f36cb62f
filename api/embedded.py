"""Embedded mode: the engine beside the routes, in the service's own process and loop."""

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from api.compile_jobs import compile_claim, requeue_forgotten
from api.models import Models
from api.service import Service
from envs.environment import Environment
from rollout.client import new_http
from rollout.engine import Done, Engine, Outcome, Timing
from rollout.runs import Claim
from rollout.worker import RolloutHandler

log = logging.getLogger(__name__)


@asynccontextmanager
async def embedded(service: Service) -> AsyncIterator[None]:
    """Claims and works for as long as the context lives; at its end jobs in flight are ended or handed back."""
    settings = service.settings
    environments: dict[str, Environment] = await asyncio.to_thread(service.every_environment)
    await asyncio.to_thread(requeue_forgotten, service)
    async with new_http() as http:

        async def compiles(claim: Claim) -> Outcome:
            return Done(result=await compile_claim(service, claim))

        engine = Engine(
            service.store,
            {
                "rollout": RolloutHandler(service.store, environments, Models(settings, http)),
                "compile_shard": compiles,
            },
            worker=f"{socket.gethostname()}:{os.getpid()}",
            concurrency={"rollout": settings.concurrency, "compile_shard": settings.compile_workers},
            timing=Timing(grace=settings.shutdown_seconds),
        )
        working = asyncio.create_task(engine.run(), name="engine")
        working.add_done_callback(tell_end)
        try:
            yield
        finally:
            engine.stop()
            await asyncio.wait([working])
            await service.close_environments()


def tell_end(working: asyncio.Task[None]) -> None:
    """An engine that dies while the service lives must not die unheard."""
    if not working.cancelled() and (error := working.exception()) is not None:
        log.critical("the engine stopped; nothing is worked off any more", exc_info=error)
