"""The served schema tells the truth: a client that is made from it can queue, stream and read errors."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.routes.runs import RunRequest


@pytest.fixture
def schema(client: TestClient) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/openapi.json").json()
    return found


def operations(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in schema["paths"].items():
        for method, operation in item.items():
            yield f"{method.upper()} {path}", operation


def test_every_route_that_reads_a_body_says_which(schema: dict[str, Any]) -> None:
    bodies = {
        name: sorted(operation["requestBody"]["content"])
        for name, operation in operations(schema)
        if "requestBody" in operation
    }
    assert bodies == {
        "POST /v1/runs": ["application/json", "application/x-ndjson"],
        "POST /v1/runs/{id}/tasks": ["application/x-ndjson"],
        "PUT /v1/task-sets/{name}": ["application/x-ndjson"],
        "POST /v1/compilations": ["application/json"],
        "POST /v1/compilations/estimate": ["application/json"],
        "POST /v1/endpoints": ["application/json"],
    }


def test_a_run_is_told_with_all_its_fields_and_every_reference_leads_somewhere(schema: dict[str, Any]) -> None:
    told = schema["components"]["schemas"]["RunRequest"]
    assert (set(told["properties"]), told["required"]) == (set(RunRequest.model_fields), ["environment"])
    names = {word.partition('"')[0] for word in json.dumps(schema).split('"#/components/schemas/')[1:]}
    assert names == set(schema["components"]["schemas"])
    assert "#/$defs/" not in json.dumps(schema)


def test_errors_are_problems_and_what_is_no_json_is_not_said_to_be(schema: dict[str, Any]) -> None:
    for name, operation in operations(schema):
        assert sorted(operation["responses"]["default"]["content"]) == ["application/problem+json"], name
        assert "422" not in operation["responses"]
    told = {name: sorted(one["responses"].get("200", {}).get("content", {})) for name, one in operations(schema)}
    assert told["GET /v1/events"] == ["text/event-stream"]
    assert told["GET /metrics"] == ["text/plain"]
    assert told["GET /v1/datasets/{name}/versions/{version}/files/{path}"] == ["application/octet-stream"]


def test_keys_are_told_and_probes_need_none(schema: dict[str, Any]) -> None:
    assert {"key": []} in schema["security"]
    assert schema["components"]["securitySchemes"]["key"] == {"type": "http", "scheme": "bearer"}
    assert [name for name, one in operations(schema) if one.get("security") == []] == ["GET /healthz", "GET /readyz"]
