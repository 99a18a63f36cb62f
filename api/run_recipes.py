"""Runs that name a recipe: compiled into a dataset as their rollouts finish, published when they are sealed and done.

The compilation is queued under a key made of the run, so that looking twice, or from two processes, queues it once.
"""

import asyncio
import logging
import re

from api.ahead import Ahead
from api.compile_jobs import check_asked, queue_compilation
from api.problems import Problem
from api.service import Service
from api.settings import Settings
from compiler.recipe import Recipe, parse_recipe
from rollout.runs import Event, Run, RunSpec

log = logging.getLogger(__name__)
LOOK_SECONDS = 1.0


def check_recipe(spec: RunSpec, settings: Settings) -> None:
    """Raises `Problem`, or `RecipeError` naming the field: a run whose recipe cannot be read is not queued."""
    if isinstance(spec.recipe, str):
        raise Problem(422, "not-valid", "field recipe: give the recipe's fields as an object")
    if spec.recipe is not None:
        check_asked(settings, parse_recipe(spec.recipe, "field recipe"))


async def compile_finished_runs(service: Service) -> None:
    """For ever: first the runs that ended while nobody looked, then each one as it ends."""
    after = await asyncio.to_thread(service.store.last_event)
    ahead = Ahead(service)
    for run in await asyncio.to_thread(lambda: list(service.every_run())):
        await asyncio.to_thread(compile_if_wanted, service, run)
        await asyncio.to_thread(ahead.resume, run)
    while True:
        for event in await asyncio.to_thread(service.store.events, after):
            after = event.id
            await asyncio.to_thread(heed, service, ahead, event)
        await asyncio.to_thread(ahead.turn)
        await asyncio.sleep(LOOK_SECONDS)


def heed(service: Service, ahead: Ahead, event: Event) -> None:
    if event.run is None:
        return
    if event.kind == "rollout.succeeded" and event.data["trajectory"] is not None:
        ahead.finished(event.run, event.data["trajectory"])
    elif event.kind == "run.finished":
        ahead.ended(event.run)
        compile_if_wanted(service, service.store.run(event.run))


def compile_if_wanted(service: Service, run: Run) -> None:
    if run.finished is None or not isinstance(run.spec.recipe, dict) or run.cancel_requested:
        return
    recipe: Recipe = parse_recipe({**run.spec.recipe, "runs": [run.id]})
    made = queue_compilation(service, recipe, dataset_name(run), f"run {run.id} {run.finished}")
    log.info("run %s is done: compilation %s (%s)", run.id, made.id, made.state)


def dataset_name(run: Run) -> str:
    """The run's name as far as it can be a folder's, else its id."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", run.name).strip("-.")[:96] or run.id
