"""Runs that name a recipe: compiled into a dataset as their rollouts finish, published when they are sealed and done.

The compilation is queued under a key made of the run, so that looking twice, or from two processes, queues it once.
"""

import asyncio
import logging
import re
from collections.abc import Iterable

from sqlalchemy.exc import SQLAlchemyError

from api.ahead import Ahead
from api.compile_jobs import check_asked, queue_compilation
from api.problems import Problem
from api.service import Service
from api.settings import Settings
from compiler.errors import RecipeError
from compiler.recipe import parse_recipe
from rollout.database import Conflict
from rollout.endpoints import EndpointEntry
from rollout.runs import Event, Run, RunSpec

log = logging.getLogger(__name__)
LOOK_SECONDS = 1.0


def check_recipe(spec: RunSpec, settings: Settings, entries: Iterable[EndpointEntry]) -> None:
    """Raises `Problem`, or `RecipeError` naming the field: a run whose recipe cannot be read is not queued."""
    if isinstance(spec.recipe, str):
        raise Problem(422, "not-valid", "field recipe: give the recipe's fields as an object")
    if spec.recipe is not None:
        check_asked(settings, parse_recipe(spec.recipe, "field recipe"), entries)


async def compile_finished_runs(service: Service) -> None:
    """For ever: first the runs that ended while nobody looked, then each one as it ends."""
    after: int | None = None
    ahead = Ahead(service)
    while True:
        try:
            if after is None:
                after = await asyncio.to_thread(begin, service, ahead)
            after = await asyncio.to_thread(look, service, ahead, after)
        except SQLAlchemyError as e:
            log.error("runs' recipes wait: the database cannot be read, trying again: %s", e)
        await asyncio.sleep(LOOK_SECONDS)


def begin(service: Service, ahead: Ahead) -> int:
    """The event from which on to look."""
    after = service.store.last_event()
    for run in service.every_run():
        compile_if_wanted(service, run)
        ahead.resume(run)
    return after


def look(service: Service, ahead: Ahead, after: int) -> int:
    """The last event that there was."""
    while events := service.store.events(after):
        for event in events:
            heed(service, ahead, event)
            after = event.id
    ahead.turn()
    return after


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
    try:
        recipe = parse_recipe({**run.spec.recipe, "runs": [run.id]})
        made = queue_compilation(service, recipe, dataset_name(run.name, run.id), f"run {run.id} {run.finished}")
    except RecipeError as e:  # queued by a release that knew other fields
        log.error("run %s is done and not compiled: %s", run.id, e)
        return
    except Conflict:  # queued before, when the settings named another model or recipes had fewer fields
        return
    log.info("run %s is done: compilation %s (%s)", run.id, made.id, made.state)


def dataset_name(name: str, id: str) -> str:
    """The run's name as far as it can be a folder's, else its id."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:96] or id
