"""One rollout with its trajectory, a stretch of messages at a time, so that the longest one opens."""

from dataclasses import dataclass
from typing import Any

from api.problems import Problem
from api.service import Service
from rollout.formats import FORMATS
from rollout.trajectory import Message, ModelCall, ToolStep, Trajectory

MESSAGES = 100
"""On one page."""
CHARACTERS = 20_000
"""Of one message on the page; the rest is a link away, and counted."""


@dataclass(frozen=True)
class Shown:
    """A message with what it came from: a model call, or a tool call's result."""

    index: int
    message: Message
    call: ModelCall | None
    step: ToolStep | None


def rollout_page(service: Service, id: str, first: int) -> dict[str, Any]:
    rollout = service.store.rollout(id)
    trajectory = service.store.trajectory(rollout.trajectory) if rollout.trajectory else None
    following = first + MESSAGES
    more = trajectory is not None and following < len(trajectory.messages)
    return {
        "rollout": rollout,
        "trajectory": trajectory,
        "scores": service.store.scores(rollout.trajectory) if rollout.trajectory else (),
        "formats": tuple(FORMATS),
        "first": first,
        "messages": shown(trajectory, first) if trajectory else (),
        "bound": CHARACTERS,
        "next_link": f"/rollouts/{id}?first={following}" if more else None,
        "first_link": f"/rollouts/{id}" if first else None,
    }


def shown(trajectory: Trajectory, first: int) -> list[Shown]:
    calls = {call.output: call for call in trajectory.calls}
    steps = {step.message: step for step in trajectory.steps}
    stretch = trajectory.messages[first : first + MESSAGES]
    return [Shown(i, message, calls.get(i), steps.get(i)) for i, message in enumerate(stretch, first)]


def whole_message(service: Service, id: str, index: int) -> str:
    """Raises `Problem` where there is no such message."""
    rollout = service.store.rollout(id)
    messages = service.store.trajectory(rollout.trajectory).messages if rollout.trajectory else ()
    if not 0 <= index < len(messages):
        raise Problem(404, "unknown-message", f"rollout {id!r} has {len(messages)} messages, none of them {index}")
    return messages[index].content or ""
