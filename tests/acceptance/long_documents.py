"""Long documents that nobody here wrote, and questions over their cross references.

Debian's documentation packages, fetched as they are asked for. A question takes two pages: one page's sentence names
something of another page, which states a fact of it. The name is blanked out in the question, so that the first page
tells what is meant and the second what is asked. The rule knows both pages: they are the gold documents.
"""

import hashlib
import posixpath
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urlsplit

import lxml.html

from envs.search.pagetext import html_text

Page = lxml.html.HtmlElement
Facts = Callable[[Page], Iterator[tuple[str, str, str]]]
"""Of one page: (anchor, name, value) of everything that it describes with the fact that is asked for."""

PARAGRAPH = (80, 500)
MOST_OF_A_PAGE = 3


@dataclass(frozen=True)
class Manual:
    """One corpus."""

    name: str
    package: str
    folder: str
    """Of its pages, below /usr/share/doc."""
    passed_over: str
    """Pages that no question begins on: they list everything, or tell dates and versions themselves."""
    asked: str
    facts: Facts


def _added(page: Page) -> Iterator[tuple[str, str, str]]:
    for term in page.xpath("//dt[contains(@class, 'sig-object')][@id]"):
        about = term.getnext()
        notes = about.xpath("./div[@class='versionadded']") if about is not None and about.tag == "dd" else []
        if notes and (found := re.fullmatch(r"New in version (\d+\.\d+)\.", _line(notes[0]))):
            yield term.get("id"), term.get("id").rpartition(".")[2], found[1]


def _directive(page: Page) -> Iterator[tuple[str, str, str]]:
    for head in page.xpath("//div[@class='directive-section']/h2[@id]"):
        name = head.xpath("string(span[@id])").strip()
        rows = head.xpath("following-sibling::table[1]//tr[th[contains(., 'Default:')]]/td/code")
        if name and rows and (text := _line(rows[0])).startswith(name + " "):
            yield head.get("id"), name, text.removeprefix(name).strip()


def _setting(page: Page) -> Iterator[tuple[str, str, str]]:
    for mark in page.xpath("//span[starts-with(@id, 'std-setting-')]"):
        stated = mark.xpath("following-sibling::p[1][starts-with(normalize-space(), 'Default:')]")
        if stated:
            yield mark.get("id"), mark.get("id").rpartition("-")[2], _line(stated[0]).removeprefix("Default:").strip()


def _parameter(page: Page) -> Iterator[tuple[str, str, str]]:
    for term in page.xpath("//dt[starts-with(@id, 'GUC-')]"):
        about = term.getnext()
        name = term.xpath("string(.//code[@class='varname'])").strip()
        values = [
            code
            for code in (about.xpath(".//code[@class='literal']") if about is not None else ())
            if (code.getprevious() is None and re.search(r"default is\s+$", code.getparent().text or ""))
            or (code.getprevious() is not None and re.search(r"default is\s+$", code.getprevious().tail or ""))
        ]
        if name and len(values) == 1:
            yield term.get("id"), name, _line(values[0])


MANUALS = (
    Manual(
        "python", "python3.11-doc", "python3.11/html", r"whatsnew|genindex|changelog|py-modindex|glossary|contents",
        "In which version of Python was it added? Give the number alone, such as 3.0.", _added,
    ),
    Manual(
        "apache", "apache2-doc", "apache2-doc/manual/en", r"quickreference|directives|new_features|sitemap|upgrading",
        "What is its default setting, as its description states it?", _directive,
    ),
    Manual(
        "django", "python-django-doc", "python-django-doc/html", r"releases|genindex|contents|py-modindex|internals",
        "What is its default value, as its description states it?", _setting,
    ),
    Manual(
        "postgresql", "postgresql-doc-15", "postgresql-doc-15/html", r"release|bookindex|index",
        "What is its default value, as its description states it?", _parameter,
    ),
)  # fmt: skip


def fetch(manual: Manual, into: Path) -> Path:
    """The folder of its pages, of the package that the machine's own package lists name."""
    archives = into / "archives" / manual.package
    archives.mkdir(parents=True)
    download = ["apt-get", "download", "-q", manual.package]
    if subprocess.run(download, cwd=archives, capture_output=True, check=False).returncode != 0:
        subprocess.run(["apt-get", "update", "-q"], check=True, capture_output=True)
        subprocess.run(download, cwd=archives, check=True, capture_output=True)
    (archive,) = archives.glob("*.deb")
    unpacked = into / "unpacked" / manual.package
    unpacked.mkdir(parents=True)
    subprocess.run(["dpkg-deb", "--extract", archive, unpacked], check=True)
    return unpacked / "usr" / "share" / "doc" / manual.folder


def _line(element: Page) -> str:
    return " ".join(element.text_content().split())


@dataclass(frozen=True)
class _Read:
    title: str
    lines: frozenset[str]
    page: Page


def questions(manual: Manual, folder: Path) -> Iterator[dict[str, Any]]:
    """Tasks as a task file has them, in an order that says nothing."""
    read: dict[str, _Read] = {}
    for path in sorted(folder.rglob("*.html")):
        raw = path.read_bytes().decode("utf-8-sig", "replace")
        title, text = html_text(raw)
        if raw.strip() and title:
            read[path.relative_to(folder).as_posix()] = _Read(
                title, frozenset(text.split("\n")), lxml.html.fromstring(raw.encode(), parser=_PARSER)
            )
    titles = Counter(r.title for r in read.values())
    standing = Counter(line for r in read.values() for line in r.lines)
    facts = {(path, a): (n, v) for path, r in read.items() for a, n, v in manual.facts(r.page)}
    named = Counter(name for name, _ in facts.values())
    found = {}
    for path, r in read.items():
        if titles[r.title] > 1 or re.match(manual.passed_over, path):
            continue
        for link in r.page.xpath("//p//a[@href]"):
            there, anchor = _target(path, link.get("href"))
            name, value = facts.get((there, anchor), ("", ""))
            paragraph = next(link.iterancestors("p"))
            if not name or there == path or named[name] > 1 or titles[read[there].title] > 1:
                continue
            said = _line(paragraph)
            blanked = re.sub(rf"(?:\w+\.)*\b{re.escape(name)}\b(?:\(\))?", "____", said)
            question = (
                f"The page “{r.title}” says: “{blanked}” What was blanked out there is described on the page "
                f"“{read[there].title}”. {manual.asked}"
            )
            if (
                PARAGRAPH[0] <= len(said) <= PARAGRAPH[1]
                and standing[said] == 1
                and said in r.lines
                and name.lower() not in question.lower()
                and _askable(value)
                and value.lower() not in question.lower()
                and "____" in question
            ):
                found.setdefault((there, anchor), []).append((path, question, value))
    yield from _chosen(manual, found)


_PARSER = lxml.html.HTMLParser(encoding="utf-8")


def _target(path: str, href: str) -> tuple[str, str]:
    there, anchor = urldefrag(href)
    if urlsplit(there).scheme:
        return "", ""
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), unquote(there))) if there else path, anchor


def _askable(value: str) -> bool:
    """Short, on one line, and not what an agent writes that knows nothing."""
    return 1 < len(value) <= 40 and value.lower() not in ("none", "unknown", "not defined", "n/a", "yes", "no")


def _chosen(manual: Manual, found: dict[tuple[str, str], list[tuple[str, str, str]]]) -> Iterator[dict[str, Any]]:
    """One question for each fact, and few that begin on one page."""
    used: Counter[str] = Counter()
    for (there, anchor), asked in sorted(found.items(), key=lambda f: hashlib.sha256(repr(f[0]).encode()).digest()):
        path, question, value = min(asked, key=lambda a: (used[a[0]], a))
        if used[path] >= MOST_OF_A_PAGE:
            continue
        used[path] += 1
        yield {
            "id": f"{manual.name}-{hashlib.sha256(f'{there}#{anchor}'.encode()).hexdigest()[:12]}",
            "environment": "search",
            "question": question,
            "world": {"corpus": manual.name},
            "group": manual.name,
            "reference": {"answers": [value], "gold_docs": [path, there]},
        }
