"""What the agent met of the world, kept whole and apart from what the model was shown.

What of it was *needed* is the compiler's judgement and is not stored here.
"""

from typing import Literal

from envs.blobs import Blob
from envs.frozen import Frozen


class Coverage(Frozen):
    """How much of the source the agent was given: all of it, byte ranges of it, or a search snippet."""

    kind: Literal["full", "partial", "snippet"]
    ranges: tuple[tuple[int, int], ...] = ()
    """Half-open byte ranges of the blob, for `partial`."""


FULL = Coverage(kind="full")
SNIPPET = Coverage(kind="snippet")


class Evidence(Frozen):
    """One thing met by one tool call. Which step and call it was is told by where the trajectory holds it."""

    kind: Literal["document", "file", "table", "listing"]
    source: str
    """Canonical id: document id or URL, path from the repository's root, table name."""
    version: str
    """Of the corpus, tree or database."""
    how: Literal["opened", "listed"]
    coverage: Coverage
    blob: Blob | None
    """The full content at that moment; None where only a snippet is known."""
    base: Blob | None = None
    """For a file: what it was before the agent's edits, where that differs from `blob`."""
    title: str = ""
    snippet: str = ""
    query: str | None = None
    rank: int | None = None
    """1 is the first result."""
    score: float | None = None
    licence: str | None = None
