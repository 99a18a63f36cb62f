"""What the model is shown of results, pages and places.

Every result has the same three lines. Titles and passages are put on one line, so that no document can write
a line that looks like another result's.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from envs.search.corpus import Hit
from envs.search.document import Document
from envs.search.passage import Found, Span

_TITLE, _URL = 300, 2000
"""Characters shown of them; those of a corpus know no bound."""
_LISTED = re.compile(r"^\[\d+\] .*\n    id: (.+?)  score: ", re.MULTILINE)


@dataclass(frozen=True)
class Listing:
    """One query's results, each with the passage that is shown of it, on one line."""

    query: str
    hits: Sequence[tuple[Hit, str]]
    notes: Sequence[str] = ()


def listed_ids(text: str) -> tuple[str, ...]:
    """The ids that a `search` result listed, in its order."""
    return tuple(_LISTED.findall(text))


def listing(shown: Listing) -> str:
    lines = [f"Results for: {_line(shown.query, 300)}", *(f"({note})" for note in shown.notes)]
    if not shown.hits:
        lines.append("No results. Try other or fewer words.")
    for hit, passage in shown.hits:
        document = hit.document
        lines += [
            f"[{hit.rank}] {_line(document.title, _TITLE)}",
            f"    id: {document.id}  score: {hit.score:.4f}{_url(document)}",
            f"    {passage}",
        ]
    return "\n".join(lines)


def page(document: Document, number: int, spans: Sequence[Span]) -> str:
    start, end = spans[number - 1]
    head = [_line(document.title, _TITLE), f"id: {document.id}{_url(document)}"]
    if len(spans) == 1:
        return "\n".join([*head, "", document.text])
    head[1] += f"  page {number} of {len(spans)} (characters {start} to {end} of {len(document.text)})"
    more = f'[page {number} of {len(spans)}; visit(id="{document.id}", page={number + 1}) shows the next one]'
    tail = [more] if number < len(spans) else []
    return "\n".join([*head, "", document.text[start:end], *tail])


def places(document: Document, pattern: str, found: Found, spans: Sequence[Span]) -> str:
    said = f"{_line(pattern, 100)!r} in {_line(document.title, _TITLE)} (id: {document.id})"
    if not found.total:
        return f"No match for {said}. Words are matched as they are written; try fewer of them."
    left_out = found.total - len(found.shown)
    lines = [
        f"{found.total} match{'es' if found.total > 1 else ''} for {said}" + (", the first shown" * bool(left_out))
    ]
    for number, (place, around) in enumerate(found.shown, 1):
        on = next(n for n, (_, end) in enumerate(spans, 1) if place[0] < end)
        lines.append(f"[{number}] page {on}: {excerpt(document.text, around)}")
    if left_out:
        lines.append(f"({left_out} more not shown)")
    return "\n".join(lines)


def unknown(id: str) -> str:
    return (
        f"There is no document {_line(id, 200)!r}. Use an id exactly as `search` listed it; "
        "if you have none, call search first."
    )


def excerpt(text: str, span: Span) -> str:
    """That part of the text on one line, with … where it was cut."""
    start, end = span
    return ("…" if start > 0 else "") + _line(text[start:end]) + ("…" if end < len(text) else "")


def _url(document: Document) -> str:
    return f"  url: {_line(document.url, _URL)}" if document.url else ""


def _line(text: str, limit: int | None = None) -> str:
    flat = " ".join(text.split())
    return flat if limit is None or len(flat) <= limit else flat[:limit] + "…"
