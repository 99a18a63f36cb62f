"""A compilation in this very process: for workers whose processes are there for nothing else."""

import asyncio
import logging
import threading
from collections.abc import Callable
from functools import partial

from api.compile_ahead import prepare
from api.compile_jobs import ATTEMPTS as FAULTS
from api.compile_jobs import fail_compilation, told_of
from api.compile_steps import Step, take_step
from api.compile_told import Interrupted
from api.service import Service
from rollout.engine import Broken, Done, Outcome
from rollout.runs import Claim

log = logging.getLogger(__name__)

ATTEMPTS = 10
"""Attempts after which a compilation is taken for what kills its workers (out of memory, most of the time). More
than one machine's own bound, since workers that end in good order hand it back and count as well."""


async def compile_here(service: Service, claim: Claim) -> Outcome:
    """The handler of the job. When cancelled, the step ends at its next trajectory; whoever takes it next goes on."""
    if claim.attempt > ATTEMPTS:
        words = f"{ATTEMPTS} workers were lost with it, or ended; out of memory is the usual cause"
        await asyncio.to_thread(fail_compilation, service, claim, words)
        return Broken("worker_lost", words, permanent=True)
    stopped = threading.Event()
    scorers = await asyncio.to_thread(service.scorers)
    given = (service.store, service.blobs, service.settings.datasets)
    work: Callable[[], object]
    if "compilation" in claim.payload:
        work = partial(take_step, *given, Step.model_validate(claim.payload), stopped.is_set, scorers)
    else:
        work = partial(prepare, *given, claim.payload, stopped.is_set, scorers)
    compiling = asyncio.create_task(asyncio.to_thread(until_interrupted, work))
    try:
        await asyncio.shield(compiling)
    except asyncio.CancelledError:
        stopped.set()
        await asyncio.gather(compiling, return_exceptions=True)
        raise
    except Exception as e:
        if claim.attempt < FAULTS:
            raise
        words = f"{type(e).__name__}: {e}"
        await asyncio.to_thread(fail_compilation, service, claim, words)
        return Broken("environment_error", words, permanent=True)
    return Done(result=told_of(claim))


def until_interrupted(work: Callable[[], object]) -> None:
    """A compilation that was cancelled has nothing more to do."""
    try:
        work()
    except Interrupted as e:
        log.info("%s", e)
