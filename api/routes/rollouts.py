"""Rollouts, their attempts and scores, and the trajectory each left."""

import asyncio
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Response

from api.problems import Problem, unknown
from api.routes.parts import Limit, RolloutCursor, TheService, page_of
from api.service import Service
from api.views import rollout_view
from envs.errors import FailureClass
from rollout.formats import FORMATS
from rollout.runs import JobState
from rollout.trajectory import Trajectory

router = APIRouter(prefix="/rollouts", tags=["rollouts"])
trajectories = APIRouter(prefix="/trajectories", tags=["rollouts"])
WantedFormat = Annotated[str, Query(description=", ".join(FORMATS))]


@router.get("")
async def list_rollouts(
    service: TheService,
    run: str | None = None,
    status: JobState | None = None,
    environment: str | None = None,
    failure: FailureClass | None = None,
    cursor: RolloutCursor = None,
    limit: Limit = 100,
) -> dict[str, Any]:
    if environment is not None:
        service.environment(environment)
    if run is not None:
        await asyncio.to_thread(service.store.check_run, run)
    page = await asyncio.to_thread(
        service.store.rollouts,
        run=run,
        status=status,
        environment=environment,
        failure=failure,
        cursor=cursor,
        limit=limit,
    )
    return page_of(page, [rollout_view(r) for r in page.items])


@router.get("/{id}")
async def one_rollout(id: str, service: TheService) -> dict[str, Any]:
    return await asyncio.to_thread(whole_view, service, id)


@router.post("/{id}/cancel")
async def cancel_rollout(id: str, service: TheService) -> dict[str, Any]:
    return rollout_view(await asyncio.to_thread(service.store.cancel_rollout, id))


@router.get("/{id}/trajectory")
async def trajectory_of(id: str, service: TheService, format: WantedFormat = "trajc") -> Response:
    """`trajc` is everything; `openai` the messages and tools; `atif` the Agent Trajectory Interchange Format."""
    data = await asyncio.to_thread(rendered, service, id, format)
    return Response(data, media_type="application/json")


@trajectories.get("/{id}")
async def one_trajectory(id: str, service: TheService, format: WantedFormat = "trajc") -> Response:
    """By its own id, as dataset examples name it."""
    data = await asyncio.to_thread(lambda: exported(service.store.trajectory(id), format))
    return Response(data, media_type="application/json")


def whole_view(service: Service, id: str) -> dict[str, Any]:
    rollout = service.store.rollout(id)
    scores = service.store.scores(rollout.trajectory) if rollout.trajectory else ()
    return rollout_view(rollout, scores)


def rendered(service: Service, id: str, format: str) -> bytes:
    rollout = service.store.rollout(id)
    if rollout.trajectory is None:
        raise Problem(
            404, "no-trajectory", f"rollout {id!r} has no trajectory (state {rollout.state}); one appears when it ends"
        )
    return exported(service.store.trajectory(rollout.trajectory), format)


def exported(trajectory: Trajectory, format: str) -> bytes:
    if format not in FORMATS:
        raise unknown("format", format, FORMATS)
    return orjson.dumps(FORMATS[format](trajectory))
