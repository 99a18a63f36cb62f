"""A fetched page as title and text."""

from envs.search.charset import decoded
from envs.search.document import clean
from envs.search.pagetext import html_text

_HTML = frozenset({"text/html", "application/xhtml+xml", ""})
TEXT_TYPES = _HTML | {"application/json"}
"""Media types that hold text for us, beside all of `text/`."""


def extract(url: str, media_type: str, charset: str | None, body: bytes) -> tuple[str, str]:
    """(title, text). May raise anything, run for hours or take down the process: see `envs.search.web.reader`."""
    words = decoded(body, charset, markup=media_type in _HTML)
    if media_type not in _HTML:
        return "", clean(words)
    import trafilatura  # takes half a second, and most processes never read a web page

    title, everything = html_text(words)
    main = trafilatura.extract(
        words, url=url, include_comments=False, include_tables=True, favor_recall=True, deduplicate=False
    )
    return clean(title), clean(main or everything)
