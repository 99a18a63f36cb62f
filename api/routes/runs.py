"""Runs: queue, append, seal, watch, hold, cancel, retry."""

import asyncio
from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from pydantic import Field, ValidationError, field_validator

from api import endpoints
from api.base_urls import askable
from api.jsonl import parse_json, read_json, split_lines, with_body
from api.openapi import LINES, TASK_LINES, body_of
from api.problems import Problem
from api.routes.parts import MOST, Limit, RunCursor, TheService, page_of
from api.run_recipes import check_recipe
from api.sampling import check_sampling
from api.service import Service
from api.task_lines import at_least_one, inline_tasks, read_tasks
from api.views import progress_view, run_view
from api.waiting import progress_of
from envs.errors import FailureClass
from rollout.runs import Label, RunSpec, TaskRow

router = APIRouter(prefix="/runs", tags=["runs"])

Key = Annotated[str | None, Header(alias="Idempotency-Key", max_length=200)]
JSON_LINES = frozenset({"application/x-ndjson", "application/jsonl", "application/ndjson", "application/jsonlines"})

LONGEST_NAME = 1000
"""Characters. Every page that lists runs has their names."""

WAY_OUT = "give at least one, or open (true) to append tasks to the run later"


class RunRequest(RunSpec):
    """A `RunSpec` with its tasks: inline, or a task set's name, or none yet (`open`)."""

    model: Label = Field(default="", description="Default: TRAJC_MODEL.")
    name: Label = Field(default="", max_length=LONGEST_NAME)
    priority: int = Field(default=0, ge=-MOST, le=MOST)
    tasks: list[dict[str, Any]] | None = None
    task_set: str | None = None
    open: bool = False
    """Whether tasks may be appended later; a run that is not open is sealed at once."""

    @field_validator("base_urls")
    @classmethod
    def _askable(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        return askable(urls)

    def spec(self) -> RunSpec:
        return RunSpec.model_validate(self.model_dump(exclude={"tasks", "task_set", "open"}))


@router.post("", status_code=201, openapi_extra=body_of(RunRequest, **{"application/x-ndjson": TASK_LINES}))
async def queue_run(request: Request, service: TheService, key: Key = None, spec: str | None = None) -> dict[str, Any]:
    """Queue a run, whole or not at all.

    The body is JSON, or JSON lines with one task a line and the other fields in the query's `spec`. `warnings` of
    the answer name endpoints that did not say which models they serve.
    """
    lines = is_json_lines(request)
    if lines:
        wanted = parse_request(parse_json((spec or "").encode(), "query parameter spec"))
    else:
        wanted = parse_request(await read_json(request.stream(), service.settings.max_body_bytes))
    if not wanted.model:
        if not service.settings.model:
            raise Problem(422, "no-model", "field model: name the model, or start the service with TRAJC_MODEL")
        wanted = wanted.model_copy(update={"model": service.settings.model})
    service.environment(wanted.environment)
    entries = await asyncio.to_thread(service.store.endpoint_entries)
    check_recipe(wanted, service.settings, entries)
    await asyncio.to_thread(check_sampling, wanted.sampling)
    urls = endpoints.urls_of(service.settings, wanted.base_urls, entries, wanted.model)
    warnings = await endpoints.check_model(service.settings, wanted.model, urls)
    how: dict[str, Any] = {"sealed": not wanted.open, "idempotency_key": key}
    if lines:
        run = await with_body(
            request.stream(),
            lambda body: service.store.create_run(
                wanted.spec(), some(wanted, tasks_of(service, body, wanted.environment)), **how
            ),
        )
    else:
        rows = some(wanted, given_rows(service, wanted))
        run = await asyncio.to_thread(service.store.create_run, wanted.spec(), rows, **how)
    return {**run_view(run), "warnings": warnings}


@router.get("")
async def list_runs(service: TheService, cursor: RunCursor = None, limit: Limit = 50) -> dict[str, Any]:
    page = await asyncio.to_thread(service.store.runs, cursor, limit)
    return page_of(page, [run_view(run) for run in page.items])


@router.get("/{id}")
async def one_run(id: str, service: TheService) -> dict[str, Any]:
    """With its progress: rates over the last minute, time left, calls and tokens by endpoint."""
    run = await asyncio.to_thread(service.store.run, id)
    return {**run_view(run), "progress": progress_view(await asyncio.to_thread(progress_of, service, run))}


@router.post("/{id}/tasks", openapi_extra=LINES)
async def append_tasks(id: str, request: Request, service: TheService) -> dict[str, Any]:
    """Append tasks as JSON lines, any number: all of them become visible, or none."""
    run = await asyncio.to_thread(service.store.run, id)
    queued = await with_body(
        request.stream(),
        lambda body: service.store.append_tasks(id, tasks_of(service, body, run.spec.environment)),
    )
    return {"queued": queued, "run": run_view(await asyncio.to_thread(service.store.run, id))}


@router.post("/{id}/seal")
async def seal(id: str, service: TheService) -> dict[str, Any]:
    return run_view(await asyncio.to_thread(service.store.seal, id))


@router.post("/{id}/cancel")
async def cancel(id: str, service: TheService) -> dict[str, Any]:
    return run_view(await asyncio.to_thread(service.store.cancel, id))


@router.post("/{id}/pause")
async def pause(id: str, service: TheService) -> dict[str, Any]:
    return run_view(await asyncio.to_thread(service.store.pause, id))


@router.post("/{id}/resume")
async def resume(id: str, service: TheService) -> dict[str, Any]:
    return run_view(await asyncio.to_thread(service.store.resume, id))


@router.post("/{id}/retry")
async def retry(
    id: str, service: TheService, failure: Annotated[list[FailureClass] | None, Query()] = None
) -> dict[str, Any]:
    """Queue again what failed, in these classes or in all."""
    queued = await asyncio.to_thread(service.store.retry, id, failure or ())
    return {"queued": queued, "run": run_view(await asyncio.to_thread(service.store.run, id))}


def is_json_lines(request: Request) -> bool:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() in JSON_LINES


def parse_request(value: Any) -> RunRequest:
    try:
        return RunRequest.model_validate(value)
    except ValidationError as e:
        faults = [{"field": ".".join(map(str, f["loc"])), "message": f["msg"]} for f in e.errors()]
        words = "; ".join(f"field {f['field']}: {f['message']}" for f in faults)
        raise Problem(
            422, "not-valid", f"{words}; a run has {', '.join(sorted(RunRequest.model_fields))}", faults=faults
        ) from None


def tasks_of(service: Service, body: Iterator[bytes], environment: str) -> Iterator[TaskRow]:
    return read_tasks(split_lines(body, service.settings.max_task_bytes), service.environment, environment)


def some(wanted: RunRequest, rows: Iterator[TaskRow]) -> Iterator[TaskRow]:
    return rows if wanted.open else at_least_one(rows, WAY_OUT)


def given_rows(service: Service, wanted: RunRequest) -> Iterator[TaskRow]:
    if wanted.tasks is not None and wanted.task_set is not None:
        raise Problem(422, "not-valid", "fields tasks and task_set exclude each other: give one")
    if wanted.task_set is not None:
        return service.store.task_set_rows(wanted.task_set)
    if wanted.tasks is None and not wanted.open:
        raise Problem(
            422, "no-tasks", "no tasks: give tasks (a list), or task_set (a name), or open (true) to append them later"
        )
    return inline_tasks(wanted.tasks or (), service.environment, wanted.environment)
