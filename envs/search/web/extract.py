"""A fetched page as title and text."""

from envs.search.document import Document, clean
from envs.search.pagetext import html_text
from envs.search.web.fetch import Fetched, FetchFailed

_HTML = frozenset({"text/html", "application/xhtml+xml", ""})


def document_of(page: Fetched, asked: str) -> Document:
    """The page under the URL it was asked for. Blocking: run it in a thread.

    Raises `FetchFailed` for an error status or a kind of file that holds no text for us.
    """
    if page.status >= 400:
        raise FetchFailed(f"the server answered {page.status}")
    if page.media_type in _HTML:
        import trafilatura  # takes half a second, and most processes never read a web page

        markup = _decoded(page)
        title, everything = html_text(markup)
        main = trafilatura.extract(
            markup, url=page.url, include_comments=False, include_tables=True, favor_recall=True, deduplicate=False
        )
        text = main or everything
    elif page.media_type.startswith("text/") or page.media_type == "application/json":
        title, text = "", _decoded(page)
    else:
        raise FetchFailed(f"it is a {page.media_type[:80]} file, which cannot be read as text")
    return Document(asked, clean(title) or asked, clean(text), page.url)


def _decoded(page: Fetched) -> str:
    try:
        return page.body.decode(page.charset or "utf-8", "replace")
    except LookupError:  # a charset that nobody knows
        return page.body.decode("utf-8", "replace")
