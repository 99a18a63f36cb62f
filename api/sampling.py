"""A run's sampling parameters, checked when the run is queued and not by every rollout's endpoint.

The names and types are the openai package's own. What it does not know (vLLM's `top_k`, `return_token_ids` and the
like) goes through as it is.
"""

from functools import cache
from typing import Any, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from api.problems import Problem


@cache
def known() -> dict[str, TypeAdapter[Any]]:
    """What the OpenAI chat API takes, by name. Imported late: the package is large."""
    from openai.types.chat.completion_create_params import CompletionCreateParamsBase

    return {
        name: TypeAdapter(annotation, config=ConfigDict(strict=True))
        for name, annotation in get_type_hints(CompletionCreateParamsBase).items()
        if name in SCALARS
    }


SCALARS = frozenset(
    (
        "frequency_penalty",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "parallel_tool_calls",
        "presence_penalty",
        "reasoning_effort",
        "seed",
        "stop",
        "temperature",
        "top_logprobs",
        "top_p",
        "verbosity",
    )
)
"""The parameters that are worth a check; structures are the endpoint's to judge."""


KEYS = frozenset(("api_key", "authorization", "default_headers", "extra_headers", "headers", "x_api_key"))
"""Where other clients take an endpoint's key."""


def check_no_keys(sampling: dict[str, Any]) -> None:
    """Sampling parameters are told in every trajectory and in a dataset's manifest. Raises `Problem`."""
    below = sampling.get("extra_body")
    given = [*sampling, *(below if isinstance(below, dict) else ())]
    if wrong := [name for name in given if name.lower().replace("-", "_") in KEYS]:
        words = (
            "is no sampling parameter: keys belong in the settings (TRAJC_MODEL_KEY, or the file of TRAJC_MODEL_KEYS)"
        )
        faults = [f"sampling.{name} {words}" for name in wrong]
        raise Problem(422, "invalid-sampling", "; ".join(faults), errors=faults)


def check_sampling(sampling: dict[str, Any]) -> None:
    """Raises `Problem` naming each parameter of a wrong type, and each that would carry a key."""
    check_no_keys(sampling)
    faults = []
    for name, value in sampling.items():
        if (adapter := known().get(name)) is not None:
            try:
                adapter.validate_python(value)
            except ValidationError as e:
                faults.append(f"sampling.{name}: {e.errors()[0]['msg']}, not {value!r}")
    if faults:
        raise Problem(422, "invalid-sampling", "; ".join(faults), errors=faults)
