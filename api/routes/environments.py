"""Which environments there are, with their tools as the model sees them."""

import asyncio
from typing import Any

from fastapi import APIRouter

from api.routes.parts import TheService, all_of
from api.service import Service

router = APIRouter(prefix="/environments", tags=["environments"])


@router.get("")
async def list_environments(service: TheService) -> dict[str, Any]:
    views = [await asyncio.to_thread(view, service, name) for name in service.environment_names]
    return all_of(views)


@router.get("/{name}")
async def one_environment(name: str, service: TheService) -> dict[str, Any]:
    return await asyncio.to_thread(view, service, name)


def view(service: Service, name: str) -> dict[str, Any]:
    environment = service.environment(name)
    return {
        "name": name,
        "takes_text": environment.takes_text,
        "system_prompt": environment.system_prompt,
        "tools": [tool.schema for tool in environment.tools],
    }
