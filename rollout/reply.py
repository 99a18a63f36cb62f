"""What a server's answer means: a completion, read leniently, or the failure that it stands for."""

import json
import re
from array import array
from typing import Any

import orjson
from yarl import URL

from rollout.model import ContextLengthExceeded, Conversation, ModelRefused, ModelUnauthorised, Reply
from rollout.recover import Found, recover, split_reasoning
from rollout.retry import Trouble
from rollout.trajectory import ToolCall, Usage

WORDS = 500
"""Characters of a server's message that an error repeats."""

_NEVER = -9999.0
"""What vLLM writes for the logprob of a token that could not have come."""
_MOST_TOKENS = 1 << 40

_TOO_LONG = re.compile(
    r"context_length_exceeded|exceed_context_size|maximum context length|context length of|model's context length"
    r"|exceeds? (the )?(available |model's )?(maximum )?context (size|length|window)|context (size|window) (has been )?"
    r"exceeded|maximum model length|prompt is too long|exceed context window|input token count .{0,40}exceeds",
    re.IGNORECASE,
)
_ASKED = re.compile(r"tokens' is too large: (\d+)|(\d+) in the completion")
_BOUND = re.compile(r"maximum context length is (\d+)")
"""Of the words of OpenAI's service, and of the vLLM releases that do not lower `max_tokens` by themselves."""


_BROKEN_OFF = frozenset(("abort", "error"))
"""Finish reasons of a reply that the server, and not the model, ended: what there is of it is nobody's answer."""


class NoCompletion(Exception):
    """An answer of 200 holds an error in place of a completion; `status` is what it should have been."""

    def __init__(self, status: int) -> None:
        super().__init__(f"an error {status} in a 200")
        self.status = status


def failure(status: int, words: str, endpoint: str, after: float | None = None) -> Exception:
    """What an answer other than a completion is to be raised as; `words` are the server's."""
    told = f"{endpoint} answered {status}: {words[:WORDS]}{without_v1(status, endpoint)}"
    if status in (400, 413, 422, 500) and _TOO_LONG.search(words):
        return ModelRefused(f"{told} (lower max_tokens)") if _asks_too_much(words) else ContextLengthExceeded(told)
    if status == 429:
        return Trouble("busy", told, after)
    if status >= 500 or status in (408, 425):
        return Trouble("server", told, after)
    return ModelUnauthorised(told) if status in (401, 403) else ModelRefused(told)


def without_v1(status: int, endpoint: str) -> str:
    """What is mostly wrong where a base URL leads to nothing."""
    return " (a base URL ends in /v1)" if status == 404 and "/v1" not in endpoint else ""


def moved(location: str) -> str:
    """What a redirect says, which is not followed: whom it leads to would be shown the key. Less what may be a secret
    in its URL."""
    try:
        there = str(URL(location).with_user(None).with_query(None).with_fragment(None))
    except ValueError:  # no URL, or a path alone
        there = location.partition("?")[0].rpartition("@")[2]
    return f"a redirect to {there}, which is not followed: name the base URL that answers by itself"


def _asks_too_much(words: str) -> bool:
    """Whether the reply alone may be longer than any context: no prompt is short enough, and no rollout is at fault."""
    asked, bound = _ASKED.search(words), _BOUND.search(words)
    return asked is not None and bound is not None and int(asked[1] or asked[2]) >= int(bound[1])


def server_words(body: bytes) -> str:
    """The server's own message, with its error code or type, wherever it put them."""
    text = body.decode("utf-8", "replace").strip()
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError:
        return text or "(an empty body)"
    if not isinstance(data, dict):
        return text
    error = data.get("error", data)
    if not isinstance(error, dict):
        return str(error)
    message = error.get("message") or error.get("detail") or text
    kinds = (str(k) for k in (error.get("type"), error.get("code")) if k and not isinstance(k, int))
    return " ".join([str(message), *(f"({k})" for k in kinds)])


def read_reply(body: bytes, conversation: Conversation, endpoint: str, seconds: float) -> Reply:
    """A completion from the body of a 200. Raises `Trouble` or `NoCompletion`."""
    try:
        data = _parsed(body)
    except (ValueError, RecursionError):
        raise Trouble("garbled", f"{endpoint} answered with {len(body)} bytes that are not JSON") from None
    choice = _first(data.get("choices")) if isinstance(data, dict) else None
    if choice is None:
        if isinstance(data, dict) and data.get("error"):
            raise NoCompletion(_status(data["error"]))
        raise Trouble("garbled", f"{endpoint} answered without a choice")
    finish_reason = _text(choice.get("finish_reason"))
    if finish_reason in _BROKEN_OFF:
        raise Trouble("server", f"{endpoint} broke off its reply (finish reason {finish_reason})")
    message = _dict(choice.get("message"))
    content, reasoning = _texts(message.get("content", choice.get("text")))
    reasoning = message.get("reasoning") or message.get("reasoning_content") or reasoning
    if content and reasoning is None and "</think>" in content:
        content, reasoning = split_reasoning(content)
    calls = _calls(message, len(conversation))
    reasoning = None if reasoning is None else str(reasoning)
    recovered = False
    if not calls and conversation.tools:
        content, reasoning, calls = _recovered(content, reasoning, conversation)
        recovered = bool(calls)
    prompt_ids = _ids(data.get("prompt_token_ids") or choice.get("prompt_token_ids"))
    output_ids = _keepable(_ids(choice.get("token_ids")))
    logprobs = _logprobs(choice.get("logprobs"))
    return Reply(
        content=content,
        reasoning=reasoning,
        tool_calls=calls,
        finish_reason=finish_reason,
        usage=_usage(data.get("usage")),
        raw=_raw(data, choice, body),
        recovered=recovered,
        seconds=seconds,
        endpoint=endpoint,
        revision=_text(data.get("system_fingerprint")),
        prompt_token_ids=prompt_ids,
        output_token_ids=output_ids,
        logprobs=logprobs,
    )


def _parsed(body: bytes) -> Any:
    """JSON, and what servers send that is nearly so: half an emoji where a reply was cut (a lone surrogate, or
    bytes that are no UTF-8), infinities among the logprobs. To ask again would be to pay again, perhaps for the like
    of it. Raises `ValueError` or `RecursionError`."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        text = body.decode("utf-8-sig", "replace")
        loose = json.loads(text, strict=False, parse_constant={"-Infinity": _NEVER}.get)
        return orjson.loads(json.dumps(loose, ensure_ascii=False).encode("utf-8", "replace"))


def _recovered(
    content: str | None, reasoning: str | None, conversation: Conversation
) -> tuple[str | None, str | None, tuple[ToolCall, ...]]:
    """Content, reasoning and the calls that were left in one of them.

    Reasoning is searched only where it ends with a call and nothing follows it: the model never closed its thinking.
    """
    found: tuple[Found, ...] = ()
    if content:
        content, found = recover(content, conversation.tools)
    elif reasoning and reasoning.rstrip().endswith(("</tool_call>", "</function>")):
        reasoning, found = recover(reasoning, conversation.tools)
    made = (ToolCall(id=_id(len(conversation), i), name=f.name, arguments=f.arguments) for i, f in enumerate(found))
    return content, reasoning, tuple(made)


def _raw(data: dict[str, Any], choice: dict[str, Any], body: bytes) -> str:
    """The body as text, less what a reply keeps in compact form: token ids, and logprobs without alternatives."""
    bulky = [(data, "prompt_token_ids"), (choice, "prompt_token_ids"), (choice, "token_ids")]
    tokens = _dict(choice.get("logprobs")).get("content")
    if isinstance(tokens, list) and not any(_dict(t).get("top_logprobs") for t in tokens):
        bulky.append((choice, "logprobs"))
    present = [(holder, key) for holder, key in bulky if holder.get(key) is not None]
    if not present:
        return body.decode("utf-8", "replace")
    for holder, key in present:
        del holder[key]
    return orjson.dumps(data).decode()


def _texts(content: Any) -> tuple[str | None, str | None]:
    """(content, reasoning) from text or from a list of typed parts."""
    if content is None or isinstance(content, str):
        return content, None
    if not isinstance(content, list):
        return str(content), None
    parts = [p if isinstance(p, dict) else {"text": str(p)} for p in content]
    thinking = [p for p in parts if p.get("type") in ("reasoning", "thinking")]
    text = "".join(str(p.get("text") or "") for p in parts if p not in thinking)
    return text, "".join(str(p.get("thinking") or p.get("text") or "") for p in thinking) or None


def _calls(message: dict[str, Any], turn: int) -> tuple[ToolCall, ...]:
    wanted = message.get("tool_calls") or []
    if not wanted and message.get("function_call"):
        wanted = [{"function": message["function_call"]}]
    calls: list[ToolCall] = []
    for i, call in enumerate(wanted if isinstance(wanted, list) else [wanted]):
        function = _dict(_dict(call).get("function"))
        id, arguments = _text(_dict(call).get("id")), function.get("arguments")
        if not id or any(c.id == id for c in calls):
            id = _id(turn, i)
        if not isinstance(arguments, str):
            arguments = "" if arguments is None else orjson.dumps(arguments).decode()
        calls.append(ToolCall(id=id, name=_text(function.get("name")) or "", arguments=arguments))
    return tuple(calls)


def _id(turn: int, position: int) -> str:
    """For a call that came without one: the same whenever the same reply is read."""
    return f"call_{turn}_{position}"


def _usage(usage: Any) -> Usage:
    usage = _dict(usage)
    details = _dict(usage.get("prompt_tokens_details"))
    return Usage(
        prompt_tokens=_count(usage.get("prompt_tokens")),
        completion_tokens=_count(usage.get("completion_tokens")),
        cached_tokens=_count(details.get("cached_tokens")),
    )


def _logprobs(logprobs: Any) -> tuple[float, ...] | None:
    tokens = _dict(logprobs).get("content")
    if not isinstance(tokens, list):
        return None
    return tuple(_number(_dict(t).get("logprob")) for t in tokens)


def _status(error: Any) -> int:
    code = _dict(error).get("code")
    return code if isinstance(code, int) and 400 <= code < 600 else 500


def _first(choices: Any) -> dict[str, Any] | None:
    return choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else None


def _ids(ids: Any) -> tuple[int, ...] | None:
    return tuple(ids) if isinstance(ids, list) and ids else None


def _keepable(ids: tuple[int, ...] | None) -> tuple[int, ...] | None:
    """None for what no token ids can be: the reply is paid for, and good without them. A prompt's, which are many, are
    looked at where they are kept (`Record`)."""
    try:
        array("i", ids or ())
    except (TypeError, OverflowError):
        return None
    return ids


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _count(value: Any) -> int:
    """Of tokens; what cannot be one counts for nothing, or no sum of them could be kept."""
    return int(value) if isinstance(value, int | float) and 0 <= value < _MOST_TOKENS else 0
