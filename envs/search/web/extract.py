"""A fetched page as title and text."""

import re

from envs.search.charset import decoded
from envs.search.document import clean
from envs.search.pagetext import html_text

_HTML = frozenset({"text/html", "application/xhtml+xml", ""})
TEXT_TYPES = _HTML | {"application/json"}
"""Media types that hold text for us, beside all of `text/`."""

_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_LOOKED_AT = 20_000
_MOST_CONTROL = 0.02
"""Share of control characters among the first ones of a text; packed data has five times as many."""


def extract(url: str, media_type: str, charset: str | None, body: bytes) -> tuple[str, str]:
    """(title, text). May raise anything, run for hours or take down the process: see `envs.search.web.reader`."""
    words = decoded(body, charset, markup=media_type in _HTML)
    if words.startswith("%PDF-") or len(_CONTROL.findall(words, 0, _LOOKED_AT)) > _MOST_CONTROL * len(
        words[:_LOOKED_AT]
    ):
        raise ValueError("no text, whatever its server calls it")
    if media_type not in _HTML:
        return "", clean(words)
    import trafilatura  # takes half a second, and most processes never read a web page

    title, everything = html_text(words)
    main = trafilatura.extract(
        words, url=url, include_comments=False, include_tables=True, favor_recall=True, deduplicate=False
    )
    return clean(title), clean(main or everything)
