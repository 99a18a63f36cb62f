"""OpenAI chat messages and tools: what fine-tuning services and chat templates take as one example.

Reasoning is `reasoning_content`, the name that chat templates read. `weight` (as in OpenAI's fine-tuning format)
is 1 on what the model of this trajectory wrote and 0 on assistant messages that it was only shown.
"""

from collections.abc import Mapping
from typing import Any

import orjson

from rollout.trajectory import Message, ToolCall, Trajectory


def to_openai(trajectory: Trajectory) -> dict[str, Any]:
    """`messages`, `tools` and, apart from what is trained on, `metadata`."""
    written = {call.output for call in trajectory.calls}
    return {
        "messages": [_message(m, i in written) for i, m in enumerate(trajectory.messages)],
        "tools": list(trajectory.tools),
        "parallel_tool_calls": any(len(m.tool_calls) > 1 for m in trajectory.messages),
        "metadata": {
            "trajectory": trajectory.id,
            "run": trajectory.run,
            "rollout": trajectory.rollout,
            "attempt": trajectory.attempt,
            "sample": trajectory.sample,
            "task": trajectory.task.id,
            "environment": trajectory.task.environment,
            "split": trajectory.task.split,
            "model": trajectory.model,
            "stop": trajectory.stop,
            "failure": trajectory.failure,
        },
    }


def from_openai(data: Mapping[str, Any]) -> tuple[tuple[Message, ...], tuple[dict[str, Any], ...]]:
    """Messages and tools. Raises `ValueError` naming the message that is none."""
    messages = tuple(_read(i, m) for i, m in enumerate(data["messages"]))
    return messages, tuple(data.get("tools") or ())


def _message(message: Message, written: bool) -> dict[str, Any]:
    out = message.wire()
    if message.role == "assistant":
        if message.reasoning is not None:
            out["reasoning_content"] = message.reasoning
        out["weight"] = int(written)
    return out


def _read(position: int, data: Any) -> Message:
    try:
        return Message(
            role="system" if data["role"] == "developer" else data["role"],
            content=_text(data.get("content")),
            reasoning=data.get("reasoning_content") or data.get("reasoning"),
            tool_calls=tuple(_call(c) for c in data.get("tool_calls") or ()),
            tool_call_id=data.get("tool_call_id"),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as e:
        raise ValueError(f"messages[{position}] is no chat message: {type(e).__name__}: {e}") from None


def _text(content: Any) -> str | None:
    """Text, or the text of a list of parts."""
    if content is None or isinstance(content, str):
        return content
    return "".join(part["text"] for part in content if part.get("type", "text") == "text")


def _call(call: Mapping[str, Any]) -> ToolCall:
    function = call["function"]
    arguments = function.get("arguments", "")
    text = arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()
    return ToolCall(id=call.get("id") or "", name=function["name"], arguments=text)
