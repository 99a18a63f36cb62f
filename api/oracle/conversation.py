"""A chat completion request, parsed: who asks what, and what happened so far."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from api.oracle.moves import Step
from api.oracle.refusal import Refusal

BYTES_PER_TOKEN = 4
"""Usage is an estimate; that the prompt grows with its text is what clients need of it."""


@dataclass(frozen=True)
class Conversation:
    model: str
    first: str
    """The first user message."""
    steps: tuple[Step, ...]
    turn: int
    tools: Mapping[str, Mapping[str, Any]]
    seed: str
    samples: int
    max_tokens: int | None
    prompt_tokens: int

    @property
    def key(self) -> str:
        """Names the conversation in /stats: its first message, seed and model."""
        text = f"{self.model}\x1f{self.seed}\x1f{self.first}"
        return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


def read_request(body: bytes) -> Conversation:
    """Raises `Refusal` naming the field."""
    try:
        request = orjson.loads(body)
    except orjson.JSONDecodeError as e:
        raise Refusal(400, f"the body is not JSON: {e}") from None
    if not isinstance(request, dict):
        raise Refusal(400, f"the body must be a JSON object, not {type(request).__name__}")
    if request.get("stream"):
        raise Refusal(400, "`stream: true` is not supported here; ask without it", param="stream")
    messages = request.get("messages")
    if not isinstance(messages, list) or not all(isinstance(m, dict) for m in messages):
        raise Refusal(400, "`messages` must be a list of objects", param="messages")
    model, samples = request.get("model"), request.get("n") or 1
    if not isinstance(model, str):
        raise Refusal(400, "`model` must be a string", param="model")
    if not isinstance(samples, int) or not 1 <= samples <= 128:
        raise Refusal(400, "`n` must be a number from 1 to 128", param="n")
    first = next((m for m in messages if m.get("role") == "user"), None)
    if first is None:
        raise Refusal(400, "there is no user message, so no task to find", param="messages")
    steps, turn = _steps(messages)
    return Conversation(
        model=model,
        first=text_of(first),
        steps=steps,
        turn=turn,
        tools=_tools(request.get("tools") or []),
        seed=str(request.get("seed", "")),
        samples=samples,
        max_tokens=request.get("max_completion_tokens") or request.get("max_tokens"),
        prompt_tokens=len(body) // BYTES_PER_TOKEN + 1,
    )


def text_of(message: Mapping[str, Any]) -> str:
    """A message's text, whether it is a string or a list of parts."""
    content = message.get("content")
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _steps(messages: list[dict[str, Any]]) -> tuple[tuple[Step, ...], int]:
    """Every answered tool call in order, and the number of assistant messages."""
    asked: dict[str, tuple[str, Mapping[str, Any], int]] = {}
    steps: list[Step] = []
    turn = 0
    for message in messages:
        if message.get("role") == "assistant":
            for made in message.get("tool_calls") or ():
                function = made.get("function") or {}
                name = str(function.get("name", ""))
                asked[str(made.get("id"))] = (name, _arguments(function.get("arguments")), turn)
            turn += 1
        elif message.get("role") == "tool" and (known := asked.get(str(message.get("tool_call_id")))):
            name, arguments, at = known
            steps.append(Step(name=name, arguments=arguments, text=text_of(message), turn=at))
    return tuple(steps), turn


def _arguments(raw: Any) -> Mapping[str, Any]:
    if isinstance(raw, str):
        try:
            raw = orjson.loads(raw)
        except orjson.JSONDecodeError:
            return {}
    return raw if isinstance(raw, dict) else {}


def _tools(offered: Any) -> Mapping[str, Mapping[str, Any]]:
    if not isinstance(offered, list):
        raise Refusal(400, "`tools` must be a list", param="tools")
    functions = [tool.get("function") for tool in offered if isinstance(tool, dict)]
    return {str(f.get("name")): f.get("parameters") or {} for f in functions if isinstance(f, dict)}
