"""JSON lines off the wire: the same lines however the bytes are cut, bounded by line."""

from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.jsonl import Line, read_json, split_lines, with_body
from api.problems import Problem


@given(st.lists(st.binary(max_size=12)), st.lists(st.integers(0, 40), max_size=8))
def test_the_lines_do_not_depend_on_how_the_bytes_are_cut(lines: list[bytes], cuts: list[int]) -> None:
    data = b"\n".join(lines)
    places = sorted({min(c, len(data)) for c in cuts} | {0, len(data)})
    chunks = [data[a:b] for a, b in pairwise(places)]
    wanted = [Line(n, line) for n, line in enumerate(data.split(b"\n"), 1) if line.strip()]
    assert list(split_lines(chunks, 1000)) == wanted


@pytest.mark.parametrize("chunks", [[b"ok\n123456\n"], [b"ok\n123", b"456"], [b"ok\n", b"1234567"]])
def test_a_line_that_is_too_long_is_named(chunks: list[bytes]) -> None:
    with pytest.raises(Problem) as raised:
        list(split_lines(chunks, 5))
    assert (raised.value.status, raised.value.extra) == (413, {"line": 2, "limit": 5})
    assert "line 2 is longer than 5 bytes (TRAJC_MAX_TASK_BYTES)" in raised.value.detail


async def body(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def test_a_thread_pulls_the_body_as_it_needs_it() -> None:
    pulled: list[bytes] = []

    async def chunks() -> AsyncIterator[bytes]:
        for chunk in (b"1", b"2", b"3"):
            pulled.append(chunk)
            yield chunk

    assert await with_body(chunks(), lambda parts: b"".join(parts)) == b"123"
    pulled.clear()
    await with_body(chunks(), lambda parts: next(parts))
    assert pulled == [b"1"]


async def test_an_error_while_the_body_is_read_reaches_the_caller() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"1"
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await with_body(broken(), lambda parts: list(parts))


async def test_a_document_is_bounded_and_an_empty_one_is_an_empty_object() -> None:
    assert await read_json(body(), 10) == {}
    assert await read_json(body(b"[1,", b"2]"), 5) == [1, 2]
    with pytest.raises(Problem) as large:
        await read_json(body(b"[1,", b"2] "), 5)
    assert (large.value.status, large.value.extra) == (413, {"limit": 5})
    with pytest.raises(Problem) as broken:
        await read_json(body(b"{"), 5)
    assert broken.value.status == 400
