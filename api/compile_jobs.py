"""Compilations as jobs: queued beside the rollouts, each worked off in a process of its own.

The process is handed its work on stdin and ends when that pipe does, so it never outlives the service.
"""

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator, Iterable
from typing import Any

import orjson

from api.base_urls import askable
from api.compile_process import TRY_AGAIN
from api.compile_steps import KIND, is_wanted
from api.endpoints import urls_of
from api.problems import Problem
from api.sampling import check_no_keys
from api.service import Service
from api.settings import Settings
from compiler.errors import CompileError
from compiler.recipe import Recipe
from compiler.work import remove_ended
from rollout.database import Conflict
from rollout.endpoints import EndpointEntry
from rollout.engine import Broken, Done, Outcome
from rollout.runs import Claim, Compilation

STOP_SECONDS = 10.0
"""How long a compilation gets to end at its next trajectory before it is killed."""
ATTEMPTS = 3
"""A compilation whose process is killed this often (out of memory, most of the time), or finds its database away, has
failed."""


def check_asked(settings: Settings, recipe: Recipe, entries: Iterable[EndpointEntry]) -> None:
    """Raises `Problem` where a recipe asks a model, and neither it nor the settings say which, or where nobody is there
    to be asked. `entries` are the endpoints that were added and removed."""
    entries = tuple(entries)
    for name, asking in recipe.asked.items():
        check_no_keys(asking.sampling)
        model = asking.model or settings.model
        if model is None:
            raise Problem(
                422,
                "no-model",
                f"no model to ask: give the recipe {name}.model, or start the service with TRAJC_MODEL",
            )
        try:
            askable(asking.base_urls)
        except ValueError as e:
            raise Problem(422, "not-valid", f"{name}.base_urls: {e}") from None
        urls_of(settings, asking.base_urls, entries, model)


def with_models(settings: Settings, recipe: Recipe) -> Recipe:
    """The recipe with the settings' model where it names none, so that the settings of another day change nothing."""
    asked = {name: asking for name, asking in recipe.asked.items() if asking.model is None}
    return recipe.model_copy(
        update={name: asking.model_copy(update={"model": settings.model}) for name, asking in asked.items()}
    )


def queue_compilation(service: Service, recipe: Recipe, dataset: str, key: str | None = None) -> Compilation:
    """The same key gives the same compilation, and one job is enough for it."""
    recipe = with_models(service.settings, recipe)
    made = service.store.create_compilation(
        recipe.model_dump(mode="json"),
        dataset,
        run=recipe.runs[0] if len(recipe.runs) == 1 else None,
        idempotency_key=key,
    )
    if made.state == "queued":
        service.store.enqueue(KIND, {"compilation": made.id})
    return made


def requeue_forgotten(service: Service) -> None:
    """At start: a compilation whose job was never written, because the process died between the two, gets one.

    A second job for the same compilation finds it done and does nothing. What compilations that have ended left on
    disk is removed.
    """
    remove_ended(service.settings.datasets, lambda id: is_wanted(service.store, id))
    cursor = None
    while True:
        page = service.store.compilations(cursor, 500)
        for compilation in page.items:
            if compilation.state == "queued":
                service.store.enqueue(KIND, {"compilation": compilation.id})
        if (cursor := page.next) is None:
            return


async def compile_claim(service: Service, claim: Claim) -> Outcome:
    """The handler of the job: runs the process to its end, or stops it when cancelled."""
    async with compile_process(service, claim.payload, asyncio.subprocess.DEVNULL) as process:
        code = await process.wait()
    if code == 0:
        return Done(result=told_of(claim))
    words = f"its process ended with {code}; the service's log says more"
    final = (code > 0 and code != TRY_AGAIN) or claim.attempt >= ATTEMPTS
    if final:
        await asyncio.to_thread(fail_compilation, service, claim, words)
    return Broken("environment_error", words, permanent=final)


async def estimate(service: Service, recipe: Recipe) -> Any:
    """An `api.estimate.Estimate` as JSON. Raises `CompileError`."""
    payload = {"estimate": with_models(service.settings, recipe).model_dump(mode="json")}
    pipe = asyncio.subprocess.PIPE
    async with compile_process(service, payload, pipe, pipe) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        found, words, code = await asyncio.gather(process.stdout.read(), process.stderr.read(), process.wait())
    if code:
        raise CompileError(words.decode(errors="replace").strip()[-2000:] or f"its process ended with {code}")
    return orjson.loads(found)


@contextlib.asynccontextmanager
async def compile_process(
    service: Service, payload: dict[str, Any], stdout: int, stderr: int | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """`api.compile_process` at work on this payload, stopped where the block is left before its end."""
    settings = service.settings
    order = {
        "database": settings.database,
        "home": str(settings.home),
        "payload": payload,
        "alone": settings.compile_workers == 1,
        "scorers": await asyncio.to_thread(service.scorers),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "api.compile_process", stdin=asyncio.subprocess.PIPE, stdout=stdout, stderr=stderr
    )
    try:
        assert process.stdin is not None
        process.stdin.write(orjson.dumps(order) + b"\n")
        await process.stdin.drain()
        yield process
    finally:
        if process.returncode is None:
            await asyncio.shield(stop(process))


def told_of(claim: Claim) -> dict[str, str]:
    """The result of the job: whom the step was taken for."""
    return {key: claim.payload[key] for key in ("compilation", "run") if key in claim.payload}


def fail_compilation(service: Service, claim: Claim, words: str) -> None:
    """A step that cannot be taken fails its compilation. What was to be done ahead of one fails nothing."""
    if (id := claim.payload.get("compilation")) is not None:
        with contextlib.suppress(Conflict):
            service.store.set_compilation(id, "failed", error=words)


async def stop(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGINT)
        try:
            await asyncio.wait_for(process.wait(), STOP_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()
