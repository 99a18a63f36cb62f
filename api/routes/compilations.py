"""Compilations: a recipe in, a dataset version out."""

import asyncio
import re
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from api.compile_jobs import check_asked, estimate, queue_compilation
from api.jsonl import read_json
from api.openapi import body_of
from api.routes.parts import CompilationCursor, Limit, TheService, page_of
from api.service import Service
from api.waiting import compilation_views
from compiler.recipe import Recipe, parse_recipe
from rollout.runs import Compilation, Run

router = APIRouter(prefix="/compilations", tags=["compilations"])
NAME = "[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
Key = Annotated[str | None, Header(alias="Idempotency-Key", max_length=200)]


class CompilationRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    dataset: str = Field(pattern=f"^{NAME}$")
    """The dataset's name: letters, digits, dots, dashes and underscores."""

    @field_validator("dataset", mode="before")
    @classmethod
    def _in_words(cls, name: Any) -> Any:
        if isinstance(name, str) and not re.fullmatch(NAME, name):
            raise ValueError(f"a dataset's name has letters, digits, '.', '_' and '-', at most 96; {name!r} does not")
        return name

    run: str | None = None
    """Short for a recipe that names this run and nothing else."""
    recipe: dict[str, Any] = {}


@router.post("", status_code=202, openapi_extra=body_of(CompilationRequest))
async def compile_recipe(request: Request, service: TheService, key: Key = None) -> dict[str, Any]:
    """`warnings` of the answer name runs that are not done yet."""
    wanted = await read_wanted(request, service)
    return await asyncio.to_thread(queue, service, wanted, key)


@router.post("/estimate", openapi_extra=body_of(CompilationRequest))
async def estimate_recipe(request: Request, service: TheService) -> Any:
    """What the recipe's models would be asked: nobody is, and nothing is queued."""
    wanted = await read_wanted(request, service)
    return await estimate(service, await asyncio.to_thread(checked, service, wanted))


@router.get("")
async def list_compilations(service: TheService, cursor: CompilationCursor = None, limit: Limit = 50) -> dict[str, Any]:
    page = await asyncio.to_thread(service.store.compilations, cursor, limit)
    return page_of(page, await asyncio.to_thread(compilation_views, service, page.items))


@router.get("/{id}")
async def one_compilation(id: str, service: TheService) -> dict[str, Any]:
    """`reason` says what it waits for, where nobody is there to do it."""
    return await asyncio.to_thread(lambda: view(service, service.store.compilation(id)))


@router.post("/{id}/cancel")
async def cancel(id: str, service: TheService) -> dict[str, Any]:
    """End it for good; nothing is published. What models have replied is kept for the next compilation."""
    return await asyncio.to_thread(lambda: view(service, service.store.cancel_compilation(id)))


def view(service: Service, compilation: Compilation) -> dict[str, Any]:
    return compilation_views(service, (compilation,))[0]


async def read_wanted(request: Request, service: Service) -> CompilationRequest:
    try:
        body = await read_json(request.stream(), service.settings.max_body_bytes)
        return CompilationRequest.model_validate(body)
    except ValidationError as e:
        raise RequestValidationError([{**fault, "loc": ("body", *fault["loc"])} for fault in e.errors()]) from None


def checked(service: Service, wanted: CompilationRequest) -> Recipe:
    """Raises `RecipeError`, `Problem` where it asks nobody, or `NotFound` for a run that is not there."""
    given = wanted.recipe if wanted.run is None else {**wanted.recipe, "runs": [wanted.run]}
    recipe = parse_recipe(given)
    check_asked(service.settings, recipe, service.store.endpoint_entries())
    for run in recipe.runs:
        service.store.run(run)
    return recipe


def queue(service: Service, wanted: CompilationRequest, key: str | None) -> dict[str, Any]:
    """Raises as `checked` does."""
    recipe = checked(service, wanted)
    warnings = [words for run in recipe.runs if (words := unfinished(service.store.run(run)))]
    return {**view(service, queue_compilation(service, recipe, wanted.dataset, key)), "warnings": warnings}


def unfinished(run: Run) -> str:
    if run.finished is not None:
        return ""
    left = run.accounts.submitted - run.accounts.ended
    return f"run {run.id} is not done: what ends from now on is left out, {left} of {run.accounts.submitted} rollouts"
