"""From a blob to the text of a piece: named, versioned, pure steps, each undone by an inverse.

A step is recorded as `Step(name, version, params)`. Changing what a step writes means a new version.
Every rendered piece begins with an ASCII letter and ends in a line feed, so that token counts add.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import orjson

from envs.frozen import Frozen


class Undecodable(ValueError):
    """The blob is not the text it should be."""


class Step(Frozen):
    name: str
    version: int
    params: dict[str, str] = {}


def decode(data: bytes, encoding: str | None) -> str:
    """Raises `Undecodable` for binary data: no encoding, bytes that are not in it, or NUL."""
    if encoding is None:
        raise Undecodable("binary")
    try:
        text = data.decode(encoding)
    except (UnicodeDecodeError, LookupError) as e:
        raise Undecodable(str(e)) from None
    if "\0" in text:
        raise Undecodable("holds NUL bytes")
    return text


def _one_line(text: str) -> str:
    return " ".join(text.split())


@lru_cache(maxsize=4096)
def document(title: str) -> Step:
    return Step(name="document", version=1, params={"title": _one_line(title)})


def file(path: str) -> Step:
    return Step(name="file", version=1, params={"path": _one_line(path)})


def table(name: str) -> Step:
    return Step(name="table", version=1, params={"name": _one_line(name)})


NEUTRALISE = Step(name="neutralise", version=1)


def _document(text: str, params: dict[str, str]) -> str:
    return f"Document: {params['title']}\n{text}\n\n"


def _file(text: str, params: dict[str, str]) -> str:
    return f"File: {params['path']}\n{text}\nEnd of file: {params['path']}\n\n"


def _table(text: str, params: dict[str, str]) -> str:
    header, _, rows = text.partition("\n")
    columns = table_columns(header)
    words = ", ".join(f"{name} {kind}" for name, kind in columns)
    return f"Table: {params['name']}\nColumns: {words}\n{rows}\n"


def table_columns(header: str) -> list[tuple[str, str]]:
    """(name, type) of each column from a table blob's first line. Raises `Undecodable`."""
    try:
        return [(_one_line(c["name"]), _one_line(c["type"])) for c in orjson.loads(header)["columns"]]
    except (orjson.JSONDecodeError, KeyError, TypeError) as e:
        raise Undecodable(f"the first line is no table header: {e!r}") from None


CONTROL = re.compile(
    r"([<\[])(\\*)(?="
    r"[|｜][^<>|｜\s]{1,64}[|｜]>"
    r"|/?(?:think|tool_call|tool_response|tools|video|image|audio|img|ref-object|bbox|s|bos|eos|pad|unk|mask"
    r"|start_of_turn|end_of_turn|start_of_image|image_soft_token|cot-process|start-image)>"
    r"|<SYS>>|</SYS>>|/?INST\]|/?TOOL_CALLS\]|/?AVAILABLE_TOOLS\])"
)
"""Literal chat-template tokens and media tags. `<video>` becomes `<\\video>`, `<\\video>` becomes `<\\\\video>`:
one backslash more, so that taking one away undoes it."""

_ESCAPED = re.compile(CONTROL.pattern.replace(r"(\\*)", r"\\(\\*)"))


class Neutral(NamedTuple):
    text: str
    found: tuple[str, ...]
    """What was neutralised, sorted, each once."""


def neutralise(text: str) -> Neutral:
    found: set[str] = set()

    def mark(match: re.Match[str]) -> str:
        end = min(i for i in (text.find(c, match.end()) for c in ">]") if i >= 0)
        found.add(text[match.start() : end + 1])
        return f"{match[1]}\\{match[2]}"

    out = CONTROL.sub(mark, text)
    return Neutral(out, tuple(sorted(found)))


def restore(text: str) -> str:
    """The inverse of `neutralise`."""
    return _ESCAPED.sub(lambda m: f"{m[1]}{m[2]}", text)


RENDERERS: dict[str, Callable[[str, dict[str, str]], str]] = {
    "document@1": _document,
    "file@1": _file,
    "table@1": _table,
}


def apply(step: Step, text: str) -> str:
    key = f"{step.name}@{step.version}"
    return neutralise(text).text if key == "neutralise@1" else RENDERERS[key](text, step.params)
