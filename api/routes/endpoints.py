"""Model endpoints: which there are, how they do, and adding and removing them while runs go on."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from api import endpoints
from api.base_urls import askable
from api.jsonl import read_json
from api.model_keys import key_for
from api.openapi import body_of
from api.problems import unknown
from api.routes.parts import MOST, TheService, all_of
from api.service import Service
from api.views import use_view
from rollout.endpoints import EndpointEntry, EndpointUse
from rollout.runs import Label

router = APIRouter(prefix="/endpoints", tags=["endpoints"])


class EndpointRequest(BaseModel):
    """It names no key: keys are chosen by URL, from the settings of each process."""

    model_config = ConfigDict(extra="forbid")

    base_url: str = Field(description="Base URL of an OpenAI-compatible endpoint (ending in `/v1`).")
    run: str | None = Field(default=None, description="For this run alone; else for all that name no endpoints.")
    model: Label | None = Field(default=None, description="The only model it is asked for. Default: any.")
    slots: int | None = Field(
        default=None,
        ge=1,
        le=MOST,
        description="Calls in flight to begin with, in each process. Default: TRAJC_MODEL_SLOTS.",
    )
    at_once: int | None = Field(
        default=None, ge=1, le=MOST, description="Calls in flight at most, in all processes together."
    )

    @field_validator("base_url")
    @classmethod
    def _plain(cls, url: str) -> str:
        return askable((url,))[0].rstrip("/")


@router.get("")
async def list_endpoints(service: TheService) -> dict[str, Any]:
    return all_of(await asyncio.to_thread(every_endpoint, service))


@router.post("", status_code=201, openapi_extra=body_of(EndpointRequest))
async def add_endpoint(request: Request, service: TheService) -> dict[str, Any]:
    """Takes calls within seconds, in every process. Of one that is there, what is given is changed. `warnings` say
    where it does not answer, or does not serve the model."""
    try:
        wanted = EndpointRequest.model_validate(await read_json(request.stream(), service.settings.max_body_bytes))
    except ValidationError as e:
        raise RequestValidationError([{**fault, "loc": ("body", *fault["loc"])} for fault in e.errors()]) from None
    warnings = await warnings_of(service, wanted)
    return {**await asyncio.to_thread(put, service, wanted), "warnings": warnings}


@router.delete("")
async def remove_endpoint(
    service: TheService,
    base_url: Annotated[str, Query(description="As the list names it.")],
    run: Annotated[str | None, Query(description="From this run alone.")] = None,
) -> dict[str, Any]:
    """Nobody asks it any more, whoever named it, until it is added again. Its calls in flight finish; its rollouts, and
    no others, go elsewhere."""
    return await asyncio.to_thread(remove, service, base_url.rstrip("/"), run)


async def warnings_of(service: Service, wanted: EndpointRequest) -> list[str]:
    """Raises `Problem` where it says that it does not serve the model."""
    if wanted.model is not None:
        return await endpoints.check_model(service.settings, wanted.model, (wanted.base_url,))
    known = await endpoints.served(service.settings, wanted.base_url)
    return [f"{wanted.base_url}/models {known}"] if isinstance(known, str) else []


def put(service: Service, wanted: EndpointRequest) -> dict[str, Any]:
    if wanted.run is not None:
        service.store.run(wanted.run)
    entry = EndpointEntry(
        wanted.base_url, wanted.run or "", wanted.model or "", wanted.slots, wanted.at_once, removed=False
    )
    return view(service, service.store.put_endpoint(entry), EndpointUse(entry.base_url), ["added"])


def remove(service: Service, base_url: str, run: str | None) -> dict[str, Any]:
    """Raises `Problem` naming those that there are."""
    if run is not None:
        service.store.run(run)
    known = {one["base_url"]: one for one in every_endpoint(service)}
    if base_url not in known:
        raise unknown("endpoint", base_url, known)
    entry = EndpointEntry(base_url, run or "", removed=True)
    return view(service, service.store.put_endpoint(entry), EndpointUse(base_url), known[base_url]["named_by"])


def every_endpoint(service: Service) -> list[dict[str, Any]]:
    """Those of the settings, those that were added or removed, those that runs at work name."""
    entries, settings = service.store.endpoint_entries(), service.settings
    uses = {use.endpoint: use for use in service.store.endpoint_uses()}
    named: dict[str, list[str]] = {url: ["settings"] for url in settings.base_url}
    for entry in entries:
        named.setdefault(entry.base_url, []).append(f"added for {entry.run}" if entry.run else "added")
    for run in service.store.live_runs():
        for url in run.spec.base_urls:
            named.setdefault(url.rstrip("/"), []).append(run.id)
    for url in uses:
        named.setdefault(url, [])
    known: dict[str, list[EndpointEntry]] = {url: [] for url in sorted(named)}
    for entry in entries:
        known[entry.base_url].append(entry)
    return [
        view(service, entry, uses.get(url) or EndpointUse(url), named[url])
        for url, several in known.items()
        for entry in several or [EndpointEntry(url)]
    ]


def view(service: Service, entry: EndpointEntry, use: EndpointUse, named_by: list[str]) -> dict[str, Any]:
    return {
        "base_url": entry.base_url,
        "run": entry.run or None,
        "model": entry.model or None,
        "slots": entry.slots or service.settings.model_slots,
        "at_once": entry.at_once,
        "removed": entry.removed,
        "has_key": key_for(service.settings, entry.base_url) is not None,
        "named_by": named_by,
        "use": use_view(use),
    }
