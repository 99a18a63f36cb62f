"""A document that an agent opened: what it is shown of it, and what of that is kept as evidence."""

from envs.blobs import Blob
from envs.evidence import FULL, Coverage, Evidence
from envs.search import render
from envs.search.document import Document
from envs.search.passage import Span, byte_ranges, find, pages
from envs.tool import ToolResult

MAX_PATTERN = 500
"""Characters. A pattern and a text that both repeat one word take the product of their words in steps."""


def read(document: Document, blob: Blob, version: str, page: int, page_chars: int) -> ToolResult:
    """One page of it; `raw` is the whole text where a page is not all."""
    spans = pages(document.text, page_chars)
    if not 1 <= page <= len(spans):
        words = f"Document {document.id} has {len(spans)} page(s); there is no page {page}."
        return ToolResult(text=words, is_error=True)
    shown = byte_ranges(document.text, [spans[page - 1]])
    evidence = (_opened(document, blob, version, shown),)
    text = render.page(document, page, spans)
    if len(spans) == 1:
        return ToolResult(text=text, evidence=evidence)
    hidden = blob.size - sum(end - start for start, end in shown)
    return ToolResult(text=text, raw=blob, shown=shown, hidden_bytes=hidden, evidence=evidence)


def look_for(document: Document, blob: Blob, version: str, pattern: str, page_chars: int) -> ToolResult:
    """The places of a pattern, with their surroundings."""
    if len(pattern) > MAX_PATTERN:
        words = f"The pattern has {len(pattern)} characters; at most {MAX_PATTERN} are looked for. Use fewer words."
        return ToolResult(text=words, is_error=True)
    found = find(document.text, pattern)
    text = render.places(document, pattern, found, pages(document.text, page_chars))
    if not found.total:
        return ToolResult(text=text)
    shown = byte_ranges(document.text, [around for _, around in found.shown])
    return ToolResult(text=text, evidence=(_opened(document, blob, version, shown),))


def coverage(blob: Blob, shown: tuple[Span, ...]) -> Coverage:
    return FULL if shown == ((0, blob.size),) else Coverage(kind="partial", ranges=shown)


def _opened(document: Document, blob: Blob, version: str, shown: tuple[Span, ...]) -> Evidence:
    return Evidence(
        kind="document",
        source=document.id,
        version=version,
        how="opened",
        coverage=coverage(blob, shown),
        blob=blob,
        title=document.title,
        licence=document.licence,
    )
