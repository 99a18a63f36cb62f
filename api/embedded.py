"""Embedded mode: the engine beside the routes, in the service's own process and loop."""

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from api.compile_jobs import compile_claim, requeue_forgotten
from api.models import IDLE_SECONDS, Models
from api.reaper import reap_containers
from api.run_recipes import compile_finished_runs
from api.service import Service
from envs.environment import Environment
from rollout.engine import Engine, Outcome, Timing
from rollout.journal import FolderJournals
from rollout.runs import Claim
from rollout.worker import RolloutHandler

log = logging.getLogger(__name__)


@asynccontextmanager
async def embedded(service: Service) -> AsyncIterator[None]:
    """Claims and works for as long as the context lives; at its end jobs in flight are ended or handed back."""
    settings = service.settings
    environments: dict[str, Environment] = await asyncio.to_thread(service.every_environment)
    await asyncio.to_thread(requeue_forgotten, service)
    async with Models(settings) as models:

        async def compiles(claim: Claim) -> Outcome:
            return await compile_claim(service, claim)

        engine = Engine(
            service.store,
            {
                "rollout": RolloutHandler(
                    service.store,
                    environments,
                    models,
                    service=service.label,
                    journals=FolderJournals(settings.journals, fsync=settings.fsync),
                ),
                "compile_shard": compiles,
            },
            worker=f"{socket.gethostname()}:{os.getpid()}",
            concurrency={"rollout": settings.concurrency, "compile_shard": settings.compile_workers},
            timing=Timing(grace=settings.shutdown_seconds),
        )
        beside = [
            asyncio.create_task(tidy(models), name="idle pools"),
            asyncio.create_task(compile_finished_runs(service), name="recipes of runs"),
            asyncio.create_task(reap_containers(service), name="reaper"),
        ]
        working = asyncio.create_task(engine.run(), name="engine")
        for task in (working, *beside):
            task.add_done_callback(tell_end)
        try:
            yield
        finally:
            engine.stop()
            for task in beside:
                task.cancel()
            await asyncio.wait([working, *beside])
            await service.close_environments()


async def tidy(models: Models) -> None:
    while True:
        await asyncio.sleep(IDLE_SECONDS / 10)
        await models.close_idle()


def tell_end(task: asyncio.Task[None]) -> None:
    """What dies while the service lives must not die unheard."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.critical("%s stopped while the service goes on; restart it", task.get_name(), exc_info=error)
