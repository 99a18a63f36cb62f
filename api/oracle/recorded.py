"""The policy that plays a recording: the same actions in the same order, whatever the tools answer.

A recording is one JSON line: `{"task": id, "actions": [{"name", "arguments"} or {"content"}, ...]}`. `arguments`
is an object, or text that is sent as it is.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from api.oracle.moves import Call, Moment, Move, Policy, say


@dataclass(frozen=True)
class Recording:
    task: str
    moves: tuple[Move, ...]


def load_recordings(path: Path) -> list[Recording]:
    """Raises `ValueError` naming file, line and field."""
    recordings = []
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    recordings.append(parse_recording(orjson.loads(line)))
                except ValueError as e:
                    raise ValueError(f"{path}, line {number}: {e}") from None
    return recordings


def parse_recording(value: Any) -> Recording:
    """Raises `ValueError` naming the field."""
    if not isinstance(value, dict) or not isinstance(value.get("task"), str):
        raise ValueError("field task: must be a task's id")
    actions = value.get("actions")
    if not isinstance(actions, list):
        raise ValueError("field actions: must be a list")
    return Recording(value["task"], tuple(_move(i, action) for i, action in enumerate(actions)))


def _move(i: int, action: Any) -> Move:
    if isinstance(action, dict) and isinstance(action.get("content"), str):
        return say(action["content"])
    if not isinstance(action, dict) or not isinstance(action.get("name"), str):
        raise ValueError(f"field actions.{i}: must have `name` and `arguments`, or `content`")
    arguments = action.get("arguments", {})
    if not isinstance(arguments, dict | str):
        raise ValueError(f"field actions.{i}.arguments: must be an object or a text")
    return Move(calls=(Call(action["name"], arguments),))


def playing(recordings: Iterable[Recording]) -> Mapping[str, Policy]:
    """Task id -> the policy that plays its recording. After the last action it says that it is done."""
    return {recording.task: _player(recording.moves) for recording in recordings}


def _player(moves: tuple[Move, ...]) -> Policy:
    def play(moment: Moment) -> Move:
        return moves[moment.turn] if moment.turn < len(moves) else say("I have nothing more to do.")

    return play
