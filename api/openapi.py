"""What `/openapi.json` tells: the routes' own words, and what is alike in all of them.

A body that a route reads for itself (to bound it, or as a stream) is told by the route's `openapi_extra`.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from api.access import OPEN_PATHS
from api.problems import MEDIA_TYPE

REFERENCE = "#/components/schemas/{model}"
PROBLEM: Mapping[str, Any] = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "A sentence that names the thing and the way out."},
    },
}
TASK_LINES: Mapping[str, Any] = {
    "schema": {"type": "string", "description": "One task a line, as JSON: docs/formats.md."},
}


def body_of(model: type[BaseModel], **others: Mapping[str, Any]) -> dict[str, Any]:
    """`openapi_extra` of a route that takes this as JSON. `others` by media type."""
    content = {"application/json": {"schema": {"$ref": REFERENCE.format(model=model.__name__)}}, **others}
    return {"requestBody": {"required": True, "content": content}}


LINES = {"requestBody": {"required": True, "content": {"application/x-ndjson": TASK_LINES}}}
"""`openapi_extra` of a route that takes any number of tasks as JSON lines."""


def schema_of(app: FastAPI, bodies: Iterable[type[BaseModel]]) -> Callable[[], dict[str, Any]]:
    """In the place of `app.openapi`. `bodies` are what `body_of` refers to."""

    def made() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _completed(
                get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes),
                bodies,
            )
        return app.openapi_schema

    return made


def _completed(schema: dict[str, Any], bodies: Iterable[type[BaseModel]]) -> dict[str, Any]:
    _, told = models_json_schema([(model, "validation") for model in bodies], ref_template=REFERENCE)
    error = {
        "description": "What is wrong",
        "content": {MEDIA_TYPE: {"schema": {"$ref": REFERENCE.format(model="Problem")}}},
    }
    for path, item in schema["paths"].items():
        for operation in item.values():
            operation["responses"].pop("422", None)
            operation["responses"]["default"] = error
            if path in OPEN_PATHS:
                operation["security"] = []
    schema["components"] = {
        "schemas": {**told["$defs"], "Problem": PROBLEM},
        "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}, "page": {"type": "http", "scheme": "basic"}},
    }
    schema["security"] = [{"key": []}, {"page": []}, {}]  # {}: without TRAJC_API_KEYS none is asked for
    return schema
