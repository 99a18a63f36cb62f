"""A model that plays a script: given replies, or recorded action sequences.

Stateless: the assistant messages already in a conversation say which reply comes next, so that one scripted
model serves any number of rollouts at once, resumed ones included.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from rollout.model import Conversation, ModelError, Reply
from rollout.trajectory import ToolCall, Usage

Line = Reply | Exception
"""A reply to give, or an exception to raise."""


def say(content: str | None, *, reasoning: str | None = None, finish_reason: str = "stop") -> Reply:
    """A plain message."""
    return reply(content, (), reasoning, finish_reason)


def call(name: str, arguments: Any = None, *, content: str | None = None, reasoning: str | None = None) -> Reply:
    """A message with one tool call; `arguments` as a string go out as they are."""
    return calls((name, arguments), content=content, reasoning=reasoning)


def calls(*wanted: tuple[str, Any], content: str | None = None, reasoning: str | None = None) -> Reply:
    """A message with several tool calls, each (name, arguments)."""
    made = tuple(
        ToolCall(id=f"call_{i}", name=name, arguments=a if isinstance(a, str) else orjson.dumps(a or {}).decode())
        for i, (name, a) in enumerate(wanted)
    )
    return reply(content, made, reasoning, "tool_calls")


def reply(content: str | None, tool_calls: tuple[ToolCall, ...], reasoning: str | None, finish_reason: str) -> Reply:
    """Usage counts words, which is enough for limits to be tried with."""
    words = len((content or "").split()) + sum(1 + len(c.arguments.split()) for c in tool_calls)
    raw = {
        "content": content,
        "reasoning": reasoning,
        "tool_calls": [(c.id, c.name, c.arguments) for c in tool_calls],
    }
    return Reply(
        content=content,
        reasoning=reasoning,
        tool_calls=tool_calls,
        finish_reason=finish_reason,
        usage=Usage(completion_tokens=words),
        raw=orjson.dumps(raw).decode(),
        endpoint="scripted",
    )


class ScriptedModel:
    """Plays `script` in every conversation, or the one that `by_prompt` names for its first user message."""

    def __init__(
        self,
        script: Sequence[Line] = (),
        *,
        by_prompt: Mapping[str, Sequence[Line]] | None = None,
        name: str = "scripted",
    ) -> None:
        self.name = name
        self._script = script
        self._by_prompt = by_prompt or {}

    async def complete(self, conversation: Conversation, sampling: dict[str, Any]) -> Reply:  # noqa: ARG002
        script = self._script
        if self._by_prompt:
            prompt = next((m.content for m in conversation.messages if m.role == "user"), None)
            script = self._by_prompt.get(prompt or "", script)
        position = conversation.roles.count("assistant")
        if position >= len(script):
            raise ModelError(f"{self.name}: the script has {len(script)} replies and was asked for one more")
        line = script[position]
        if isinstance(line, Exception):
            raise line
        ids = (c.model_copy(update={"id": f"call_{position}_{i}"}) for i, c in enumerate(line.tool_calls))
        return replace(line, tool_calls=tuple(ids))


def read_actions(path: Path) -> dict[str, tuple[Reply, ...]]:
    """Recorded action sequences by task id: JSONL of `{"task": id, "actions": [...]}`, where an action is a tool
    call `{"name", "arguments"}`, several at once `{"calls": [...]}`, or a plain message `{"content"}`; each may have
    `reasoning`. Raises `ValueError` naming file and line."""
    with path.open("rb") as lines:
        return dict(_sequence(path, number, line) for number, line in enumerate(lines, 1) if line.strip())


def _sequence(path: Path, number: int, line: bytes) -> tuple[str, tuple[Reply, ...]]:
    try:
        row = orjson.loads(line)
        return row["task"], tuple(_actions(row["actions"]))
    except (orjson.JSONDecodeError, KeyError, TypeError) as e:
        raise ValueError(f"{path}:{number}: not a recorded action sequence: {type(e).__name__}: {e}") from None


def _actions(actions: Iterable[dict[str, Any]]) -> Iterable[Reply]:
    for action in actions:
        reasoning = action.get("reasoning")
        if "content" in action:
            yield say(action["content"], reasoning=reasoning)
        else:
            wanted = action.get("calls", [action])
            yield calls(*((w["name"], w.get("arguments")) for w in wanted), reasoning=reasoning)
