"""The pages: each reads the store once and renders one template. What an agent wrote is escaped everywhere."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlencode

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from jinja2 import Environment as Templates
from jinja2 import FileSystemLoader, StrictUndefined

from api.dashboard.filters import FILTERS, MEANINGS
from api.dashboard.rollout_page import rollout_page, whole_message
from api.dataset_files import folder_of
from api.examples import list_examples
from api.problems import TITLES, Problem
from api.routes.datasets import rollout_of
from api.routes.endpoints import remove as remove_endpoint
from api.routes.parts import RolloutCursor, RunCursor, TheService
from api.service import Service
from api.waiting import compilation_views, progress_of
from envs.errors import FailureClass
from rollout.accounts import Accounts, accounts_of
from rollout.runs import JobState, Run

HERE = Path(__file__).parent
ROWS = 50
COUNTED = ("queued", "running", "succeeded", "cancelled")

router = APIRouter(include_in_schema=False)
templates = Templates(
    loader=FileSystemLoader(HERE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
templates.filters.update(FILTERS)


async def page(name: str, find: Any, *arguments: Any) -> Response:
    """`find(*arguments)` reads what the template shows, in a thread."""
    return HTMLResponse(await asyncio.to_thread(lambda: templates.get_template(name).render(find(*arguments))))


def problem_page(problem: Problem) -> str:
    """What a browser is shown in place of a page."""
    return templates.get_template("problem.html").render(problem=problem, title=TITLES.get(problem.status, "Error"))


@router.get("/")
async def home(service: TheService, cursor: RunCursor = None) -> Response:
    return await page("home.html", home_page, service, cursor)


@router.get("/runs/{id}")
async def run(id: str, service: TheService) -> Response:
    return await page("run.html", run_page, service, id)


@router.post("/runs/{id}/retry")
async def retry(id: str, service: TheService, failure: FailureClass) -> Response:
    await asyncio.to_thread(service.store.retry, id, (failure,))
    return RedirectResponse(f"/runs/{id}", 303)


@router.post("/runs/{id}/{action}")
async def act(id: str, action: Literal["pause", "resume", "cancel", "seal"], service: TheService) -> Response:
    await asyncio.to_thread(getattr(service.store, action), id)
    return RedirectResponse(f"/runs/{id}", 303)


@router.post("/compilations/{id}/cancel")
async def cancel_compilation(id: str, service: TheService) -> Response:
    await asyncio.to_thread(service.store.cancel_compilation, id)
    return RedirectResponse("/", 303)


@router.get("/rollouts")
async def rollouts(
    service: TheService,
    run: str = "",
    status: str = "",
    failure: str = "",
    environment: str = "",
    cursor: RolloutCursor = None,
) -> Response:
    filters = {"run": run, "status": status, "failure": failure, "environment": environment}
    return await page("rollouts.html", rollout_table, service, filters, cursor)


@router.get("/rollouts/{id}")
async def rollout(id: str, service: TheService, first: Annotated[int, Query(ge=0)] = 0) -> Response:
    return await page("rollout.html", rollout_page, service, id, first)


@router.get("/rollouts/{id}/messages/{index}")
async def message(id: str, index: int, service: TheService) -> Response:
    return PlainTextResponse(await asyncio.to_thread(whole_message, service, id, index))


@router.get("/endpoints")
async def endpoints(service: TheService) -> Response:
    return await page("endpoints.html", endpoints_page, service)


@router.post("/endpoints/remove")
async def remove(service: TheService, base_url: str, run: str = "") -> Response:
    await asyncio.to_thread(remove_endpoint, service, base_url, run or None)
    return RedirectResponse("/endpoints", 303)


@router.get("/datasets")
async def datasets(service: TheService) -> Response:
    return await page("datasets.html", datasets_page, service)


@router.get("/datasets/{name}")
async def dataset(name: str, service: TheService) -> Response:
    return await page("dataset.html", dataset_page, service, name)


def home_page(service: Service, cursor: str | None) -> dict[str, Any]:
    found = service.store.runs(cursor, ROWS)
    compiled = service.store.compilations(None, 10)
    counts: dict[FailureClass, int] = {}
    for run in found.items:
        for failure, count in run.accounts.failed.items():
            counts[failure] = counts.get(failure, 0) + count
    return {
        "runs": found.items,
        "total": total(found.items),
        "failures": [{"failure": f, "count": n, "meaning": MEANINGS[f]} for f, n in sorted(counts.items())],
        "compilations": compilation_views(service, compiled.items),
        "more_compilations": compiled.next is not None,
        "next_link": f"/?{urlencode({'cursor': found.next})}" if found.next else None,
        "first_link": "/" if cursor else None,
    }


def total(runs: Sequence[Run]) -> Accounts:
    """Of the runs on the page."""
    rows = [(state, None, getattr(r.accounts, state)) for r in runs for state in COUNTED]
    failed = [("failed", failure, count) for r in runs for failure, count in r.accounts.failed.items()]
    return accounts_of(sum(r.accounts.submitted for r in runs), [*rows, *failed])


def run_page(service: Service, id: str) -> dict[str, Any]:
    run = service.store.run(id)
    filters = {"run": id, "status": "", "failure": "", "environment": ""}
    progress = progress_of(service, run)
    actions = ("resume" if run.paused else "pause", "cancel", *(() if run.sealed else ("seal",)))
    return {
        "run": run,
        "progress": progress,
        "uses": progress.endpoints,
        "failures": failures_of(service, run),
        "actions": actions,
        **rollout_table(service, filters, None),
    }


def endpoints_page(service: Service) -> dict[str, Any]:
    return {"uses": service.store.endpoint_uses(), "entries": service.store.endpoint_entries()}


def failures_of(service: Service, run: Run) -> list[dict[str, Any]]:
    """Each class with its meaning and one rollout to look at."""
    made = []
    for failure, count in run.accounts.failed.items():
        found = service.store.rollouts(run=run.id, failure=failure, status="failed", limit=1).items
        example = found[0] if found else None
        made.append({"failure": failure, "count": count, "meaning": MEANINGS[failure], "example": example})
    return made


def rollout_table(service: Service, filters: dict[str, str], cursor: str | None) -> dict[str, Any]:
    wanted = {name: value for name, value in filters.items() if value}
    if "run" in wanted:
        service.store.check_run(wanted["run"])
    found = service.store.rollouts(**wanted, cursor=cursor, limit=ROWS)  # type: ignore[arg-type]
    following = urlencode({**wanted, "cursor": found.next}) if found.next else None
    return {
        "rollouts": found.items,
        "filters": filters,
        "states": get_args(JobState),
        "failure_classes": get_args(FailureClass),
        "environments": service.environment_names,
        "next_link": f"/rollouts?{following}" if following else None,
        "first_link": f"/rollouts?{urlencode(wanted)}" if cursor else None,
    }


def datasets_page(service: Service) -> dict[str, Any]:
    return {"datasets": [service.store.versions(name)[0] for name in service.store.datasets()]}


def dataset_page(service: Service, name: str) -> dict[str, Any]:
    """Its versions, and the newest one's first examples with the way back to their trajectories."""
    versions = service.store.versions(name)
    found = list_examples(folder_of(service, versions[0]), None, ROWS)
    examples = [{"row": row, "rollout": rollout_of(service, row["trajectory"])} for row in found.items]
    return {"name": name, "versions": versions, "examples": examples, "more": found.next is not None}
