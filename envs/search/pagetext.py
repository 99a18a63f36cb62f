"""A page file as title and text: plain text, Markdown, HTML."""

import re
from html.parser import HTMLParser
from pathlib import Path

from envs.search.charset import decoded

_SKIPPED = frozenset({"script", "style", "noscript", "template", "svg", "iframe", "object"})
_BLOCK_NAMES = (
    "address article aside blockquote br dd div dl dt figcaption figure footer form h1 h2 h3 h4 h5 h6 header hr li"
    " main nav ol option p pre section table td th tr ul"
)
_BLOCKS = frozenset(_BLOCK_NAMES.split())
_HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*\s*$", re.MULTILINE)

_UNENDING = (
    (re.compile(r"<(?=!--)"), re.compile(r"--\s*>")),
    (re.compile(r"<(?=!\[(?:temp|cdata|ignore|include|rcdata))", re.IGNORECASE), re.compile(r"\]\s*\]\s*>")),
    (re.compile(r"<(?=!\[)"), re.compile(r"\]\s*>")),
    (re.compile(r"<"), re.compile(r">")),
)
"""How markup opens, and what ends it."""

SUFFIXES = frozenset({".txt", ".text", ".md", ".markdown", ".html", ".htm"})


def read_page(path: Path) -> tuple[str, str]:
    """(title, text). The title is the page's own, or the file's name without its ending."""
    suffix = path.suffix.lower()
    raw = decoded(path.read_bytes(), markup=suffix in (".html", ".htm"))
    if suffix in (".html", ".htm"):
        title, text = html_text(raw)
        return title or path.stem, text
    if suffix in (".md", ".markdown"):
        heading = _HEADING.search(raw)
        return (heading.group(1) if heading else path.stem), raw
    return path.stem, raw


def html_text(html: str) -> tuple[str, str]:
    """(title, visible text), one line for each block. Broken markup gives what can be read of it."""
    parser = _Visible()
    parser.feed(_closed(html))
    parser.close()
    lines = (re.sub(r"[ \t\r\f\v\n\xa0]+", " ", line).strip() for line in "".join(parser.parts).split("\0"))
    return " ".join("".join(parser.title).split()), "\n".join(line for line in lines if line)


def _closed(html: str) -> str:
    """With what opens markup that never ends as plain text, which the parser too makes of it, but only after looking
    for the end once more behind each: for a page of a megabyte of `<!--` that takes hours."""
    for opened, closer in _UNENDING:
        end = max((match.end() for match in closer.finditer(html)), default=0)
        html = html[:end] + opened.sub("&lt;", html[end:])
    return html


class _Visible(HTMLParser):
    """Gathers text; a NUL stands where a block begins or ends."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self.title: list[str] = []
        self._skip: str | None = None
        self._skipped: list[str] = []
        self._in_title = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        if self._skip is None and tag in _SKIPPED:
            self._skip, self._skipped = tag, []
        elif tag == "title" and self._skip is None:
            self._in_title = not self.title
        elif tag in _BLOCKS:
            self.parts.append("\0")

    def handle_endtag(self, tag: str) -> None:
        if tag == self._skip:
            self._skip = None
        elif tag == "title":
            self._in_title = False
        elif tag in _BLOCKS:
            self.parts.append("\0")

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title.append(data)
        elif self.cdata_elem is None:  # no script or style
            (self.parts if self._skip is None else self._skipped).append(data.replace("\0", " "))

    def close(self) -> None:
        """What was skipped to the page's end was no aside: the end tag is lacking."""
        super().close()
        if self._skip not in (None, "script", "style"):
            self.parts += ["\0", "\0".join(self._skipped)]
