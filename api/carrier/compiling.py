"""A compilation in this very process: for workers whose processes are there for nothing else."""

import asyncio
import threading

from api.compile_jobs import ATTEMPTS as FAULTS
from api.compile_process import compile_one
from api.service import Service
from rollout.engine import Broken, Done, Outcome
from rollout.runs import Claim

ATTEMPTS = 10
"""Attempts after which a compilation is taken for what kills its workers (out of memory, most of the time). More
than one machine's own bound, since workers that end in good order hand it back and count as well."""


async def compile_here(service: Service, claim: Claim) -> Outcome:
    """The handler of the job. When cancelled, the compilation stops at its next trajectory and removes its files."""
    id = claim.payload["compilation"]
    if claim.attempt > ATTEMPTS:
        words = f"{ATTEMPTS} workers were lost with it, or ended; out of memory is the usual cause"
        await asyncio.to_thread(service.store.set_compilation, id, "failed", error=words)
        return Broken("worker_lost", words, permanent=True)
    stopped = threading.Event()
    settings = service.settings
    compiling = asyncio.create_task(
        asyncio.to_thread(compile_one, service.store, service.blobs, settings.datasets, id, stopped.is_set)
    )
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
        await asyncio.to_thread(service.store.set_compilation, id, "failed", error=words)
        return Broken("environment_error", words, permanent=True)
    return Done(result={"compilation": id})
