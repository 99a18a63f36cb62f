"""What one process works with: its engine, and the environments, models and journals that the handlers stand on.

The service works so in embedded mode, and so does each worker process: the same parts, claimed for in another way.
"""

import asyncio
import gc
import logging
import resource
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from api.compile_jobs import compile_claim
from api.generation import GenerationHandler
from api.models import IDLE_SECONDS, Models
from api.reaper import reap_containers
from api.service import Service
from api.worker_name import worker_name
from rollout.admission import Admission
from rollout.engine import Engine, Handler, Outcome, Timing
from rollout.journal import FolderJournals
from rollout.runs import Claim, JobKind
from rollout.worker import RolloutHandler

log = logging.getLogger(__name__)

COLLECT_AFTER = (50_000, 20, 20)
"""Objects made before Python looks for cycles, and how many looks at the young come before one at the older ones.
Thousands of rollouts in flight are a large and living heap: looking through it as often as Python does by itself
costs a quarter of such a process's CPU. What is not in a cycle is freed at once all the same."""

FILES = 1 << 16
"""Each rollout has a journal and a connection or two open, and shells begin processes with 1,024 files."""

Compiles = Callable[[Service, Claim], Coroutine[Any, Any, Outcome]]


@dataclass(frozen=True)
class AtWork:
    engine: Engine
    working: "asyncio.Task[None]"
    """Ends when the engine was stopped and has nothing left in hand; sooner only if it broke."""


@asynccontextmanager
async def at_work(
    service: Service,
    concurrency: Mapping[JobKind, int],
    *,
    carried: bool = False,
    compiles: Compiles = compile_claim,
) -> AsyncIterator[AtWork]:
    """Works on the kinds that `concurrency` names for as long as the context lives; at its end jobs in flight are
    ended or handed back. With no kinds it does what somebody must: takes back what lost its worker.

    `carried`: see `Engine`.
    """
    gc.set_threshold(*COLLECT_AFTER)
    allow_files()
    settings = service.settings
    handlers: dict[JobKind, Handler] = {}
    async with AsyncExitStack() as stack:
        if {"rollout", "generation"} & concurrency.keys():
            environments = await asyncio.to_thread(service.every_environment)
            stack.push_async_callback(service.close_environments)
            models = await stack.enter_async_context(Models(settings, service.store))
            admission = Admission()
        if "generation" in concurrency:
            handlers["generation"] = GenerationHandler(
                service.store, service.blobs, environments, models.pool, admission
            )
        rollouts = None
        if "rollout" in concurrency:
            handlers["rollout"] = rollouts = RolloutHandler(
                service.store,
                environments,
                models,
                service=service.label,
                admission=admission,
                journals=FolderJournals(settings.journals, fsync=settings.fsync),
            )
        if {"rollout", "generation"} & concurrency.keys():
            tidying = {
                "idle pools and journals": tidy(models, rollouts),
                "model endpoints": models.follow(),
                "reaper": reap_containers(service),
            }
            await stack.enter_async_context(beside(tidying))
        if "compile_shard" in concurrency:
            handlers["compile_shard"] = partial(compiles, service)
        timing = Timing(
            lease=settings.lease_seconds,
            poll=settings.poll_seconds if carried else Timing.poll,
            grace=settings.shutdown_seconds,
        )
        engine = Engine(service.store, handlers, worker_name(), concurrency, timing, carried=carried)
        working = asyncio.create_task(engine.run(), name="engine")
        working.add_done_callback(tell_end)
        try:
            yield AtWork(engine, working)
        finally:
            engine.stop()
            await asyncio.wait([working])


def allow_files() -> None:
    """As many open files as the system lets this process have, up to `FILES`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = FILES if hard == resource.RLIM_INFINITY else min(hard, FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


@asynccontextmanager
async def beside(works: Mapping[str, Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """These run, by name, until the end of the block."""
    tasks = [asyncio.create_task(work, name=name) for name, work in works.items()]
    for task in tasks:
        task.add_done_callback(tell_end)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


async def tidy(models: Models, rollouts: RolloutHandler | None, seconds: float = IDLE_SECONDS / 10) -> None:
    while True:
        if rollouts is not None:
            try:
                await asyncio.to_thread(rollouts.sweep)
            except (SQLAlchemyError, OSError) as e:
                log.warning("old journals are not removed, trying again: %s", e)
        await asyncio.sleep(seconds)
        await models.close_idle()


def tell_end(task: "asyncio.Task[None]") -> None:
    """What dies while its process lives must not die unheard."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.critical("%s stopped while its process goes on; restart it", task.get_name(), exc_info=error)
