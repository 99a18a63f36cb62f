"""Tool calls and reasoning that a server left in `content`.

vLLM's parsers miss tool calls now and then, and a server started without one leaves them all. Known forms:
Hermes and Qwen (`<tool_call>{"name": ..., "arguments": {...}}</tool_call>`) and Qwen3-Coder
(`<function=NAME><parameter=KEY>value</parameter></function>`, within `<tool_call>` or bare). What does not parse
is left alone.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_HERMES = re.compile(r"<tool_call>\s*(?=\{)")
_HERMES_END = re.compile(r"\s*(?:</tool_call>|\Z)")
_XML = re.compile(
    r"(?:<tool_call>\s*)?<function=(?P<name>[^<>\s]+)\s*>(?P<body>(?:(?!<function=).)*?)</function>(?:\s*</tool_call>)?",
    re.DOTALL,
)
_PARAMETER = re.compile(
    r"\s*<parameter=(?P<key>[^>\s]+)\s*>\n?(?P<value>.*?)\n?</parameter>\s*(?=<parameter=|\Z)", re.DOTALL
)
_DECODER = json.JSONDecoder(strict=False)


@dataclass(frozen=True)
class Found:
    """A call in a text: where it stands, and its arguments as JSON text."""

    start: int
    end: int
    name: str
    arguments: str


def split_reasoning(content: str) -> tuple[str | None, str | None]:
    """(content, reasoning) of a text whose reasoning the server did not take out.

    Templates that open `<think>` in the prompt leave only the closing tag. An opening tag that is never closed
    is left alone: nothing says where the reasoning ends.
    """
    head, closing, rest = content.partition("</think>")
    head = head.lstrip()
    if not closing or "<think>" in head.removeprefix("<think>"):
        return content, None
    return rest.lstrip("\n") or None, head.removeprefix("<think>").strip("\n") or None


def recover(content: str, tools: Sequence[dict[str, Any]]) -> tuple[str | None, tuple[Found, ...]]:
    """The prose around the calls (None where there is none), and the calls in order.

    `tools` are the request's schemas: XML values have no types of their own.
    """
    if "<tool_call>" not in content and "<function=" not in content:
        return content, ()
    found = _outermost([*_hermes(content), *_xml(content, _properties(tools))])
    if not found:
        return content, ()
    edges = [0, *(edge for f in found for edge in (f.start, f.end)), len(content)]
    prose = "".join(content[a:b] for a, b in zip(edges[::2], edges[1::2], strict=True)).strip()
    return prose or None, found


def _outermost(found: Sequence[Found]) -> tuple[Found, ...]:
    """In order, without what stands inside another: a call that a call's arguments quote is text."""
    kept: list[Found] = []
    for one in sorted(found, key=lambda f: f.start):
        if not kept or one.start >= kept[-1].end:
            kept.append(one)
    return tuple(kept)


def _hermes(content: str) -> list[Found]:
    found = []
    position = 0
    while opening := _HERMES.search(content, position):
        position = opening.end()
        try:
            call, end = _DECODER.raw_decode(content, position)
        except (json.JSONDecodeError, RecursionError):
            continue
        closing = _HERMES_END.match(content, end)
        if closing is None or not isinstance(call.get("name"), str):
            continue
        position = closing.end()
        arguments = call.get("arguments", call.get("parameters", {}))
        text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        found.append(Found(opening.start(), position, _plain(call["name"]), _plain(text)))
    return found


def _xml(content: str, properties: dict[str, dict[str, Any]]) -> list[Found]:
    found = []
    for match in _XML.finditer(content):
        arguments, position = {}, 0
        body, schema = match["body"].strip(), properties.get(match["name"], {})
        while parameter := _PARAMETER.match(body, position):
            arguments[parameter["key"]] = _typed(parameter["value"], schema.get(parameter["key"], {}))
            position = parameter.end()
        if position == len(body):
            text = json.dumps(arguments, ensure_ascii=False)
            found.append(Found(match.start(), match.end(), match["name"], _plain(text)))
    return found


def _plain(text: str) -> str:
    """Text that UTF-8 can carry: half an emoji, which JSON may escape alone, becomes a question mark."""
    return text.encode("utf-8", "replace").decode()


def _properties(tools: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    functions = (t.get("function", {}) for t in tools)
    return {f.get("name", ""): f.get("parameters", {}).get("properties", {}) for f in functions}


def _typed(value: str, schema: dict[str, Any]) -> Any:
    """The value as the schema's type: JSON where a type other than string is allowed and it is of that type."""
    allowed = {s.get("type", "string") for s in schema.get("anyOf", [schema])}
    if allowed == {"string"}:
        return value
    try:
        parsed = json.loads(value)
    except (ValueError, RecursionError):
        return value
    return parsed if _JSON_TYPES.get(type(parsed)) in allowed or not allowed & set(_JSON_TYPES.values()) else value


_JSON_TYPES = {bool: "boolean", int: "integer", float: "number", list: "array", dict: "object", type(None): "null"}
