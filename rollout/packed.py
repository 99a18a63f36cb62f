"""Finished turns as bytes: for rollouts that wait for a model most of their life, and for the journal.

A turn as objects weighs several times its text and is walked by every garbage collection; thousands of rollouts
in flight would pay for that. The texts that the model was shown are left out: the conversation has them, and a line
of the journal has the turn's messages as the conversation wrote them, so that nothing is serialised twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from envs.frozen import Frozen
from rollout.trajectory import Message, ModelCall, ToolStep

_SHOWN = {"steps": {"__all__": {"result": {"text"}}}}


class Finished(Frozen):
    """One turn, less what `Conversation.messages` gives back."""

    call: ModelCall
    reasoning: str | None
    steps: tuple[ToolStep, ...]


@dataclass(frozen=True)
class Turn:
    """One model call with all that followed from it, as the journal keeps it."""

    index: int
    call: ModelCall
    messages: tuple[Message, ...]
    """What the turn added to the history: the assistant's message first, then tool answers or a nudge."""
    steps: tuple[ToolStep, ...] = ()
    line: bytes = field(default=b"", repr=False, compare=False)
    """`line_of` it, where that is made already."""


def pack(turn: Finished) -> bytes:
    return turn.model_dump_json(exclude=_SHOWN).encode()


def unpack(packed: bytes, messages: Sequence[Message]) -> Finished:
    """`messages` are the conversation's, all of them."""
    return _finished(orjson.loads(packed), messages, 0)


def line_of(turn: Turn) -> bytes:
    """The turn as one line of JSON, without its end."""
    packed = pack(Finished(call=turn.call, reasoning=turn.messages[0].reasoning, steps=turn.steps))
    return joined(turn.index, packed, [b"," + orjson.dumps(message.wire()) for message in turn.messages])


def joined(index: int, packed: bytes, wires: Sequence[bytes]) -> bytes:
    """A line of what is serialised already; each of `wires` is a message behind a comma."""
    return b'{"index":%d,"finished":%b,"messages":[%b]}' % (index, packed, b"".join(wires).lstrip(b","))


def turn_of(line: dict[str, Any]) -> Turn:
    """What `line_of` gave, as parsed JSON. Raises `ValueError` or `LookupError` for what it did not."""
    messages = [Message.from_wire(wire) for wire in line["messages"]]
    finished = _finished(line["finished"], messages, line["finished"]["call"]["output"])
    if finished.reasoning is not None:
        messages[0] = messages[0].model_copy(update={"reasoning": finished.reasoning})
    return Turn(line["index"], finished.call, tuple(messages), finished.steps)


def _finished(data: dict[str, Any], messages: Sequence[Message], first: int) -> Finished:
    """`first` is the index of the first of these messages in the conversation."""
    for step in data["steps"]:
        step["result"]["text"] = messages[step["message"] - first].content
    return Finished.model_validate(data)
