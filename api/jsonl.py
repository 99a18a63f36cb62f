"""JSON off the wire: documents bounded by size, JSON lines bounded by line, so that any number can be streamed."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson

from api.problems import Problem

T = TypeVar("T")

DEEPEST = 100
"""Values within values; what is kept of a request is written again within other values."""
_WRITTEN = 254
"""What orjson writes."""


@dataclass(frozen=True)
class Line:
    number: int
    """1 is the first line of the file; blank lines count and are left out."""
    data: bytes


async def with_body(chunks: AsyncIterator[bytes], use: Callable[[Iterator[bytes]], T]) -> T:
    """Run blocking `use` in a thread while the body still arrives: it pulls, so memory stays near one chunk.

    The thread is this body's own: a sender may take as long as he likes, and the threads that all requests share are
    few."""
    loop = asyncio.get_running_loop()

    def pulled() -> Iterator[bytes]:
        while True:
            chunk = asyncio.run_coroutine_threadsafe(_next(chunks), loop).result()
            if chunk is None:
                return
            yield chunk

    own = ThreadPoolExecutor(1, thread_name_prefix="body")
    try:
        return await loop.run_in_executor(own, use, pulled())
    finally:
        own.shutdown(wait=False)


async def _next(chunks: AsyncIterator[bytes]) -> bytes | None:
    return await anext(chunks, None)


def split_lines(chunks: Iterable[bytes], longest: int) -> Iterator[Line]:
    """Raises `Problem` (413) for a line of more than `longest` bytes."""
    held: list[bytes] = []
    size = number = 0
    for chunk in chunks:
        *whole, rest = chunk.split(b"\n")
        for piece in whole:
            number += 1
            data = b"".join([*held, piece])
            held, size = [], 0
            if len(data) > longest:
                raise _too_long(number, longest)
            if data.strip():
                yield Line(number, data)
        if rest:
            held.append(rest)
            size += len(rest)
            if size > longest:
                raise _too_long(number + 1, longest)
    data = b"".join(held)
    if data.strip():
        yield Line(number + 1, data)


async def read_json(chunks: AsyncIterator[bytes], largest: int) -> Any:
    """One JSON document; an empty body is an empty object. Raises `Problem` 413 or 400."""
    held: list[bytes] = []
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > largest:
            raise Problem(
                413,
                "body-too-large",
                f"the body is larger than {largest} bytes (TRAJC_MAX_BODY_BYTES); stream many tasks as JSON lines to "
                "POST /v1/runs/{id}/tasks instead",
                limit=largest,
            )
        held.append(chunk)
    return parse_json(b"".join(held), "the body")


def parse_json(data: bytes, what: str) -> Any:
    """Nothing at all is an empty object. Raises `Problem` 400."""
    try:
        value = orjson.loads(data or b"{}")
    except orjson.JSONDecodeError as e:
        raise Problem(400, "not-json", f"{what} is not JSON: {e}") from None
    if data.count(b"[") + data.count(b"{") > DEEPEST and _is_deep(value):
        raise Problem(400, "too-deep", f"{what} nests values more than {DEEPEST} deep", limit=DEEPEST)
    return value


def _is_deep(value: Any) -> bool:
    """By the writer's own bound: a value that can be read and not written again would be lost, or stop a rollout."""
    for _ in range(_WRITTEN - DEEPEST):
        value = [value]
    try:
        orjson.dumps(value)
    except orjson.JSONEncodeError:
        return True
    return False


def _too_long(number: int, longest: int) -> Problem:
    return Problem(
        413,
        "line-too-long",
        f"line {number} is longer than {longest} bytes (TRAJC_MAX_TASK_BYTES)",
        line=number,
        limit=longest,
    )
