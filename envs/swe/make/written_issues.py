"""Issue texts that a language model writes, and what makes one unfit: it gives away the patch or the hidden tests."""

import ast
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import PurePosixPath

from envs.swe.gitdir import File
from envs.swe.make.folder import reverse_diff
from envs.swe.make.issue import failure_words
from envs.swe.make.sdist import Package
from envs.swe.make.trial import Dropped, Kept
from envs.swe.make.written_bugs import Writer

SHOWN = 3
"""Failing tests that the writer is shown."""
SHOWN_CHARACTERS = 6000
FEWEST, MOST = 80, 6000
"""Characters of an issue below its title."""
LONGEST_TITLE = 200
TELLING = 12
"""Characters, spaces aside, from which on a line found again in the issue is no accident."""
TAKES = 2

PROMPT = """Somebody changed the Python package {package} and broke it. This is the change:

```diff
{patch}```

These tests fail now:

{failing}

Write the issue that a user of the package would open who met this in a program of their own. Say what you did, with a \
short example that is not taken from the tests, what you expected, and what happened instead. You do not know the \
source: name no file, no line and no cause, quote no code of the package, and mention neither the tests nor their \
names. Answer with the issue alone: a title in the first line, an empty line, and the text."""


class WrittenIssues:
    """An `IssueSource` over a writer. A text that gives something away is asked for once more, then dropped."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    async def issue(self, package: Package, kept: Kept) -> str | Dropped:
        healthy, broken = package.files, kept.files
        prompt = PROMPT.format(
            package=package.name, patch=_short(reverse_diff(broken, healthy)), failing=_failing(package, kept)
        )
        leaks, subjects = Leaks(healthy, broken, kept.broken), subjects_of(package)
        reason = ""
        for take in range(TAKES):
            text = (await self._writer.write(prompt, take) or "").strip()
            reason = fault(text, leaks, subjects)
            if not reason:
                return f"{text}\n\nTests are run by `{package.command}`."
        return Dropped(f"written issue: {reason}")


def fault(text: str, leaks: "Leaks", subjects: Collection[str]) -> str:
    """Why a text is no issue, or ""."""
    if not text:
        return "no text in the reply"
    title, _, rest = text.partition("\n")
    body = rest.strip()
    if len(title) > LONGEST_TITLE or not body:
        return "it is no title with a text below"
    if not FEWEST <= len(body) <= MOST:
        return "it is too short" if len(body) < FEWEST else "it is too long"
    if not set(re.findall(r"\w+", text.lower())) & set(subjects):
        return "it speaks of nothing in the package"
    return leaks.in_text(text)


def subjects_of(package: Package) -> set[str]:
    """The package's own name and the public names of its functions and classes, in lower case."""
    found = {part for part in re.findall(r"\w+", package.name.lower()) if len(part) > 2}
    for path in package.sources:
        try:
            tree = ast.parse(package.files[path].data)
        except (SyntaxError, ValueError):
            continue
        defined = (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef))
        found |= {n.name.lower() for n in defined if not n.name.startswith("_") and len(n.name) > 2}
    return found


class Leaks:
    """What an issue must not tell: the lines and places of the patch, and the names and lines of the hidden tests."""

    def __init__(self, healthy: Mapping[str, File], broken: Mapping[str, File], failing: Sequence[str]) -> None:
        changed = [p for p in sorted({*healthy, *broken}) if healthy.get(p) != broken.get(p)]
        self._paths = {*changed, *(p.removeprefix("src/").removeprefix("lib/") for p in changed)}
        self._patch = {
            squeezed
            for path in changed
            for line in _apart(_text(healthy.get(path)), _text(broken.get(path)))
            if len(squeezed := _squeezed(line)) >= TELLING
        }
        names = {part.partition("[")[0] for id in failing for part in id.split("::")[1:]}
        modules = {id.partition("::")[0] for id in failing}
        self._names = {*names, *modules, *(PurePosixPath(m).stem for m in modules)}
        self._bodies = {
            squeezed
            for id in failing
            for line in test_lines(healthy, id)
            if len(squeezed := _squeezed(line)) >= TELLING
        }

    def in_text(self, text: str) -> str:
        """The first thing given away, as a reason; "" where nothing is."""
        squeezed = _squeezed(text)
        if re.search(r"^(diff --git|@@ -\d|\+\+\+ |--- a/)", text, re.MULTILINE) or any(
            line in squeezed for line in self._patch
        ):
            return "it quotes the patch"
        if any(path in text for path in self._paths):
            return "it names the file with the bug"
        if any(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) for name in self._names if len(name) > 4):
            return "it names a hidden test"
        if any(line in squeezed for line in self._bodies):
            return "it quotes a hidden test"
        return ""


def test_lines(files: Mapping[str, File], id: str) -> Iterator[str]:
    """The statements' lines of the test function that a pytest id names."""
    path, *names = id.partition("[")[0].split("::")
    text = _text(files.get(path))
    try:
        inside: list[ast.stmt] = ast.parse(text).body
    except (SyntaxError, ValueError):
        return
    for name in names:
        found = next((n for n in inside if getattr(n, "name", None) == name), None)
        if not isinstance(found, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            return
        inside = found.body
    if inside and names:
        lines = text.splitlines()
        yield from lines[inside[0].lineno - 1 : inside[-1].end_lineno]


def _failing(package: Package, kept: Kept) -> str:
    told = failure_words(kept.log)
    parts = []
    for id in kept.broken[:SHOWN]:
        words = told.get(id.partition("::")[2].replace("::", "."), [])
        body = "\n".join(test_lines(package.files, id))
        parts.append(_short(f"{id}\n{body}\n" + "\n".join(f"E  {word}" for word in words[:10])))
    return "\n\n".join(parts)


def _apart(one: str, other: str) -> Iterator[str]:
    """Lines of two texts that are in one of them only."""
    yield from set(one.splitlines()) ^ set(other.splitlines())


def _short(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "\n...\n"


def _squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text)


def _text(file: File | None) -> str:
    return file.data.decode("utf-8", "replace") if file else ""
