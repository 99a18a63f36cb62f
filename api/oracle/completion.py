"""A move as the body of a chat completion, with the faults that a reply may carry."""

from typing import Any

import orjson

from api.oracle.chance import Chance
from api.oracle.conversation import BYTES_PER_TOKEN
from api.oracle.moves import Call, Move
from api.oracle.settings import Faults, ReasoningForm


def is_malformed(faults: Faults, chance: Chance, turn: int) -> bool:
    """Whether this turn's tool call goes out with broken arguments. Recomputable for any earlier turn."""
    return chance.happens(faults.malformed, "malformed", turn)


def choice(
    move: Move,
    index: int,
    *,
    chance: Chance,
    turn: int,
    faults: Faults,
    reasoning: ReasoningForm,
    max_tokens: int | None,
) -> dict[str, Any]:
    """One entry of `choices`. A reply longer than `max_tokens` is cut, as text, with `length`."""
    calls = [(c.name, _arguments(c)) for c in move.calls]
    malformed = bool(calls) and is_malformed(faults, chance, turn)
    if malformed:
        calls[0] = (calls[0][0], _broken(calls[0][1], chance, turn))
    text, field = _thinking(move, reasoning)
    if calls and not malformed and chance.happens(faults.unparsed, "unparsed", turn):
        text, calls = "\n".join(filter(None, [text, *(_hermes(*one) for one in calls)])), []
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if field is not None:
        message["reasoning"] = field
    if calls:
        message["tool_calls"] = [
            {
                "id": f"call_{int(chance.draw('call', turn, i) * 16**12):012x}",
                "type": "function",
                "function": {"name": name, "arguments": arguments},
            }
            for i, (name, arguments) in enumerate(calls)
        ]
    finish = "tool_calls" if calls else "stop"
    if max_tokens is not None and tokens(message) > max_tokens:
        whole = "\n".join(filter(None, [field, text, *(_hermes(*one) for one in calls)]))
        message = {"role": "assistant", "content": _cut(whole, max_tokens)}
        finish = "length"
    return {"index": index, "message": message, "finish_reason": finish, "logprobs": None}


def tokens(message: dict[str, Any]) -> int:
    """Approximate tokens of an assistant message: reasoning, text, names and arguments."""
    parts = [message.get("reasoning"), message.get("content")]
    for made in message.get("tool_calls", ()):
        parts += [made["function"]["name"], made["function"]["arguments"]]
    return max(1, sum(len(part.encode("utf-8", "surrogatepass")) for part in parts if part) // BYTES_PER_TOKEN)


def _arguments(one: Call) -> str:
    return one.arguments if isinstance(one.arguments, str) else orjson.dumps(one.arguments).decode()


def _broken(arguments: str, chance: Chance, turn: int) -> str:
    cut = arguments[: max(1, len(arguments) // 2)]
    return chance.pick([cut, "[]", '{"argument_that_does_not_exist":1}'], "broken", turn)


def _hermes(name: str, arguments: str) -> str:
    quoted = orjson.dumps(name).decode()
    return f'<tool_call>\n{{"name": {quoted}, "arguments": {arguments}}}\n</tool_call>'


def _thinking(move: Move, form: ReasoningForm) -> tuple[str | None, str | None]:
    """Content and the `reasoning` field."""
    if form == "none" or not move.thought:
        return move.text, None
    if form == "field":
        return move.text, move.thought
    return f"<think>\n{move.thought}\n</think>\n\n{move.text or ''}", None


def _cut(text: str, max_tokens: int) -> str:
    return text.encode("utf-8", "surrogatepass")[: max_tokens * BYTES_PER_TOKEN].decode("utf-8", "ignore")
