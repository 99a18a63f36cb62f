"""A trajectory in the form that a reader wants."""

from typing import Any, Literal, get_args

import orjson

from rollout.trajectory import Trajectory

Format = Literal["trajc", "openai"]
FORMATS: tuple[str, ...] = get_args(Format)


def render(trajectory: Trajectory, format: Format) -> bytes:
    if format == "trajc":
        return trajectory.model_dump_json().encode()
    return orjson.dumps(openai(trajectory))


def openai(trajectory: Trajectory) -> dict[str, Any]:
    """Messages and tools as the chat API takes them."""
    return {
        "id": trajectory.id,
        "model": trajectory.model,
        "messages": [message.wire(with_reasoning=True) for message in trajectory.messages],
        "tools": list(trajectory.tools),
    }
