"""Sampling parameters of a wrong type fail the request, and not every rollout of the run."""

from typing import Any

import pytest

from api.problems import Problem
from api.sampling import check_sampling


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
