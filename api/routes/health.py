"""Whether the process lives (`/healthz`) and whether its database answers (`/readyz`)."""

import asyncio

from fastapi import APIRouter

from api.problems import Problem
from api.routes.parts import TheService

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    return {"status": "ok"}


@router.get("/readyz")
async def readyz(service: TheService) -> dict[str, str]:
    try:
        await asyncio.to_thread(service.store.task_sets)
    except Exception as e:
        raise Problem(503, "not-ready", f"the database does not answer ({type(e).__name__})") from e
    return {"status": "ready"}
