"""What an agent has seen of a corpus, read back from the tool messages: what was listed, what was opened."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from api.oracle.moves import Step

_RESULT = re.compile(r"^\[(\d+)\] (.*)\n    id: (.+?)  score: .*\n    (.*)$", re.MULTILINE)
_PAGES = re.compile(r"  page (\d+) of (\d+) \(")


@dataclass(frozen=True)
class Listed:
    """One document as the searches listed it."""

    id: str
    title: str
    snippets: tuple[str, ...]
    ranks: tuple[int, ...]
    """1 is the first result."""


@dataclass(frozen=True)
class Opened:
    """One page that was read."""

    id: str
    text: str
    page: int
    pages: int


def listed(steps: Iterable[Step]) -> dict[str, Listed]:
    """Every document that a search listed, in order of first appearance."""
    seen: dict[str, tuple[str, dict[str, None], list[int]]] = {}
    for step in steps:
        for rank, title, id, snippet in _results(step.text):
            _, snippets, ranks = seen.setdefault(id, (title, {}, []))
            snippets[snippet] = None
            ranks.append(rank)
    return {id: Listed(id, title, tuple(snippets), tuple(ranks)) for id, (title, snippets, ranks) in seen.items()}


def opened(steps: Iterable[Step]) -> list[Opened]:
    """Every page that was read, in order; refusals left out."""
    pages = []
    for step in steps:
        id = step.arguments.get("id")
        head = step.text[:2000].split("\n", 2)
        if isinstance(id, str) and len(head) > 1 and head[1].startswith("id: "):
            at = _PAGES.search(head[1])
            page, of = (int(at[1]), int(at[2])) if at else (1, 1)
            pages.append(Opened(id, step.text, page, of))
    return pages


@lru_cache(maxsize=512)
def _results(text: str) -> tuple[tuple[int, str, str, str], ...]:
    return tuple((int(rank), title, id, snippet) for rank, title, id, snippet in _RESULT.findall(text))
