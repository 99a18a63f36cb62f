"""Sampling parameters of a wrong type fail the request, and not every rollout of the run."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.problems import Problem
from api.sampling import check_sampling
from api.service import Service


def test_what_openai_and_vllm_take_passes() -> None:
    check_sampling(
        {
            "temperature": 0.7,
            "top_p": 1,
            "seed": 3,
            "max_tokens": 10,
            "stop": ["\n", "END"],
            "logprobs": True,
            "reasoning_effort": "low",
            "top_k": 20,
            "return_token_ids": True,
        }
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [("temperature", "hot"), ("temperature", True), ("max_tokens", "9"), ("seed", 1.5), ("stop", 3), ("logprobs", 1)],
)
def test_a_wrong_type_is_named(name: str, value: Any) -> None:
    with pytest.raises(Problem) as caught:
        check_sampling({"top_p": 0.9, name: value})
    assert caught.value.detail.startswith(f"sampling.{name}: ")
    assert len(caught.value.extra["errors"]) == 1


@pytest.mark.parametrize(
    "sampling",
    [
        {"api_key": "sk-hunter2"},
        {"extra_headers": {"Authorization": "Bearer sk-hunter2"}},
        {"extra_body": {"Authorization": "sk-hunter2"}},
    ],
)
def test_a_key_among_the_sampling_parameters_is_refused_and_neither_kept_nor_published(
    client: TestClient, service: Service, sampling: dict[str, Any]
) -> None:
    """They stand in every trajectory and in a dataset's manifest."""
    asking = {"model": "m", "base_urls": ["http://127.0.0.1:9/v1"], "sampling": sampling}
    run = {"environment": "search", "open": True}
    for answer in (
        client.post("/v1/runs", json={**run, **asking}),
        client.post("/v1/runs", json={**run, **asking, "sampling": {}, "recipe": {"closed_book": asking}}),
        client.post("/v1/compilations", json={"dataset": "d", "recipe": {"closed_book": asking}}),
    ):
        problem = answer.json()
        assert (answer.status_code, problem["type"]) == (422, "urn:trajc:problem:invalid-sampling")
        assert "TRAJC_MODEL_KEY" in problem["detail"]
        assert "hunter2" not in answer.text
    assert (service.store.runs().items, service.store.compilations().items) == ((), ())
