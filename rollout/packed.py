"""Finished turns as bytes, for rollouts that wait for a model most of their life.

A turn as objects weighs several times its text and is walked by every garbage collection; thousands of rollouts
in flight would pay for that. The texts that the model was shown are left out: the conversation has them.
"""

from collections.abc import Sequence

import orjson

from envs.frozen import Frozen
from rollout.trajectory import Message, ModelCall, ToolStep

_SHOWN = {"steps": {"__all__": {"result": {"text"}}}}


class Finished(Frozen):
    """One turn, less what `Conversation.messages` gives back."""

    call: ModelCall
    reasoning: str | None
    steps: tuple[ToolStep, ...]


def pack(turn: Finished) -> bytes:
    return turn.model_dump_json(exclude=_SHOWN).encode()


def unpack(packed: bytes, messages: Sequence[Message]) -> Finished:
    """`messages` are the conversation's, all of them."""
    data = orjson.loads(packed)
    for step in data["steps"]:
        step["result"]["text"] = messages[step["message"]].content
    return Finished.model_validate(data)
