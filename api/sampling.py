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


def check_sampling(sampling: dict[str, Any]) -> None:
    """Raises `Problem` naming each parameter of a wrong type."""
    faults = []
    for name, value in sampling.items():
        if (adapter := known().get(name)) is not None:
            try:
                adapter.validate_python(value)
            except ValidationError as e:
                faults.append(f"sampling.{name}: {e.errors()[0]['msg']}, not {value!r}")
    if faults:
        raise Problem(422, "invalid-sampling", "; ".join(faults), errors=faults)
