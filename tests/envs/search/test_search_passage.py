"""Passages, pages and places: what is shown is really in the text, at the place that is said."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from envs.search.passage import best_passage, byte_ranges, find, pages
from envs.search.query import understand

FILLER = "Nothing of interest stands in this sentence at all. " * 40


def passage(text: str, query: str, size: int = 200) -> str:
    start, end = best_passage(text, understand(query).terms, size)
    return text[start:end]


def test_the_passage_holds_what_was_asked_wherever_it_stands() -> None:
    for text in (FILLER + "The zebra eats grass." + FILLER, "The zebra eats grass." + FILLER, FILLER + "A zebra eats."):
        shown = passage(text, "what do zebras eat")
        assert "zebra eats" in shown
        assert len(shown) <= 240


def test_the_passage_with_more_of_the_words_wins() -> None:
    text = FILLER + "A zebra alone." + FILLER + "The zebra eats grass." + FILLER
    assert "grass" in passage(text, "zebra grass")


def test_without_a_hit_the_beginning_is_shown_and_a_short_text_whole() -> None:
    assert FILLER.startswith(passage(FILLER, "xylophone"))
    assert passage("short", "xylophone") == "short"


def test_spaceless_scripts_have_passages_too() -> None:
    assert "首都" in passage("あ" * 3000 + "東京は首都" + "い" * 3000, "首都")


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="ab \né東", max_size=400), st.integers(1, 50), st.text(alphabet="ab é東", max_size=20))
def test_passages_lie_within_the_text_and_pages_are_the_text(text: str, size: int, query: str) -> None:
    start, end = best_passage(text, understand(query).terms, size)
    assert 0 <= start <= end <= len(text)
    spans = pages(text, size)
    assert "".join(text[a:b] for a, b in spans) == text
    assert all(0 < b - a <= size for a, b in spans) or text == ""


def test_pages_end_with_paragraphs_where_they_can() -> None:
    text = "\n\n".join(["word " * 30] * 10)
    assert [text[:b].endswith(("\n\n", "word ")) for _, b in pages(text, 400)] == [True] * len(pages(text, 400))


def test_a_pattern_is_plain_text_in_any_case_and_spacing() -> None:
    text = "One  fine\nDay. one fine day? one-fine-day (a+)+$"
    assert find(text, "one fine day").total == 2
    assert find(text, "(a+)+$").total == 1
    assert find(text, ".*").total == 0
    assert find(text, "  ").total == 0


def test_places_beyond_the_limit_are_counted() -> None:
    found = find("x " * 50, "x", limit=3)
    assert (found.total, [place for place, _ in found.shown]) == (50, [(0, 1), (2, 3), (4, 5)])


def test_a_hostile_pattern_ends() -> None:
    assert find("a" * 100_000, "a " * 2000 + "b").total == 0


def test_a_long_pattern_in_a_text_that_repeats_itself_holds_up_nobody() -> None:
    """As a regular expression this takes minutes, in which the process keeps none of its leases."""
    zeros = "0 " * 2_000_000
    assert find(zeros, "0 " * 5_000 + "1").total == 0
    assert find(zeros, "0 " * 5_000).total == 400


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="aAıİiIsſSσςΣ \n\u2003é.", max_size=40), st.text(alphabet="aAiIıİsSσς \té.", max_size=4))
def test_places_are_those_of_a_regular_expression_of_the_words(text: str, pattern: str) -> None:
    words = r"\s+".join(map(re.escape, pattern.split()))
    places = [match.span() for match in re.finditer(words, text, re.IGNORECASE)] if words else []
    found = find(text, pattern, around=3, limit=40)
    assert [place for place, _ in found.shown] == places
    assert [around for _, around in found.shown] == [(max(0, a - 3), min(len(text), b + 3)) for a, b in places]
    assert found.total == len(places)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="aé東🦀", max_size=60), st.data())
def test_byte_ranges_are_those_of_the_utf8(text: str, data: st.DataObject) -> None:
    offset = st.integers(0, len(text))
    spans = [tuple(sorted((data.draw(offset), data.draw(offset)))) for _ in range(3)]
    encoded = text.encode()
    covered = {i for a, b in spans for i in range(a, b)}
    ranges = byte_ranges(text, spans)  # type: ignore[arg-type]
    assert "".join(encoded[a:b].decode() for a, b in ranges) == "".join(text[i] for i in sorted(covered))
