"""Task sets: named, versioned lists of tasks, validated whole before anything of them is kept."""

import asyncio
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request

from api.jsonl import split_lines, with_body
from api.openapi import LINES
from api.routes.parts import TheService, all_of
from api.task_lines import at_least_one, read_tasks

router = APIRouter(prefix="/task-sets", tags=["task sets"])
Name = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]


@router.get("")
async def list_task_sets(service: TheService) -> dict[str, Any]:
    return all_of([asdict(s) for s in await asyncio.to_thread(service.store.task_sets)])


@router.get("/{name}")
async def one_task_set(name: Name, service: TheService) -> dict[str, Any]:
    return asdict(await asyncio.to_thread(service.store.task_set, name))


@router.put("/{name}", openapi_extra=LINES)
async def put_task_set(name: Name, request: Request, service: TheService) -> dict[str, Any]:
    """JSON lines in, a version out; the same lines again give the version there is."""
    longest = service.settings.max_task_bytes
    made = await with_body(
        request.stream(),
        lambda body: service.store.put_task_set(
            name, at_least_one(read_tasks(split_lines(body, longest), service.environment))
        ),
    )
    return asdict(made)
