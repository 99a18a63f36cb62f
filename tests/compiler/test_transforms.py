"""Rendering is pure; neutralising takes every control string out and can be undone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.tokens import QWEN3_ADDED
from compiler.transforms import Undecodable, apply, decode, document, file, neutralise, restore, table
from compiler.verify_render import defused

PARTS = ["<", "[", "\\", "|", "im_start|>", "think>", "/", "video>", "INST]", "<SYS>>", "x", " ", "｜", ">", "]", "s>"]


@given(st.lists(st.sampled_from(PARTS), max_size=12).map("".join))
def test_neutralising_is_undone_leaves_nothing_and_is_seen_alike_by_the_verifier(text: str) -> None:
    neutral = neutralise(text)
    assert restore(neutral.text) == text
    assert defused(text) == neutral.text
    assert not any(token in neutral.text for token in ("<|im_start|>", "<think>", "<video>", "[INST]"))


@pytest.mark.parametrize("token", [*sorted(QWEN3_ADDED), "<video>", "<image>", "[/INST]", "<｜end▁of▁sentence｜>"])
def test_every_control_string_is_found(token: str) -> None:
    neutral = neutralise(f"a{token}b")
    assert neutral.found == (token,)
    assert token not in neutral.text


def test_common_markup_is_left_alone() -> None:
    text = "if a < b > c: x[INST] = '<div class=\"s\">' <videos> <thinking> List[str]".replace("[INST]", "[inst]")
    assert neutralise(text) == (text, ())


def test_each_kind_of_source_becomes_text() -> None:
    assert apply(document("A\n title"), "body") == "Document: A title\nbody\n\n"
    assert apply(file("a/b.py"), "x = 1\n") == "File: a/b.py\nx = 1\n\nEnd of file: a/b.py\n\n"
    rows = '{"columns":[{"name":"id","type":"INTEGER"}]}\n[1]\n[null]\n'
    assert apply(table("t"), rows) == "Table: t\nColumns: id INTEGER\n[1]\n[null]\n\n"


@pytest.mark.parametrize(
    ("data", "encoding"), [(b"\xff", "utf-8"), (b"a\0b", "utf-8"), (b"a", None), (b"a", "klingon")]
)
def test_what_is_no_text_is_undecodable(data: bytes, encoding: str | None) -> None:
    with pytest.raises(Undecodable):
        decode(data, encoding)


def test_other_encodings_are_read() -> None:
    assert decode("naïve".encode("latin-1"), "latin-1") == "naïve"


def test_a_table_without_a_header_is_undecodable() -> None:
    with pytest.raises(Undecodable, match="no table header"):
        apply(table("t"), "[1]\n[2]\n")
