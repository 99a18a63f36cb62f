"""What an agent's command showed of which file: claims from its words, checked against its output."""

import re
from collections.abc import Collection, Iterable
from fnmatch import fnmatchcase
from posixpath import normpath

from envs.evidence import FULL, Coverage
from envs.swe.command import Claim, Lines

NUMBERED = re.compile(rb"^\s*(\d{1,9})[\t: -] ?(.*)$")
"""A number of thousands of digits is no line's, and none that Python would read."""
BLAMED = re.compile(rb"^\^?[0-9a-f]{7,40} .*?(\d{1,9})\) ?(.*)$")
HEADING = re.compile(rb"^(?:\+\+\+ b/|==> )")
SHORT = 3
"""A line of so few bytes, without its number, may be any file's."""
Range = tuple[int, int]


def claimed_paths(claim: Claim, workdir: str, known: Collection[str]) -> list[str]:
    """Repository paths that a claim's word may name: a known file, files that a pattern fits, files in a folder."""
    root = normpath(workdir)
    absolute = normpath(claim.word if claim.word.startswith("/") else f"{claim.directory}/{claim.word}")
    if absolute != root and not absolute.startswith(root + "/"):
        return []
    path = absolute[len(root) + 1 :]
    if path in known:
        return [path]
    if any(c in path for c in "*?["):
        depth = path.count("/")
        return sorted(k for k in known if k.count("/") == depth and fnmatchcase(k, path))
    if not claim.whole and claim.lines is None:
        prefix = f"{path}/" if path else ""
        return sorted(k for k in known if k.startswith(prefix))
    return [path] if path and "." in path.rpartition("/")[2] else []


def mentioned(raw: bytes, known: Collection[str], directory: str, workdir: str) -> set[str]:
    """Known files that begin an output line, as `grep -r` and `git diff` name them."""
    root = normpath(workdir) + "/"
    found: set[str] = set()
    for line in raw.splitlines():
        head = re.split(rb"[:\s-](?=\d|\s|$)|:", HEADING.sub(b"", line), maxsplit=1)[0]
        if head and len(head) <= 4096:
            word = head.decode("utf-8", "replace")
            path = normpath(word if word.startswith("/") else f"{directory}/{word}")
            if path.startswith(root) and path[len(root) :] in known:
                found.add(path[len(root) :])
    return found


class Said:
    """The shown parts of an output by line, without what tools write before and after a file's own: numbers, names,
    signs of a difference."""

    def __init__(self, raw: bytes, shown: Iterable[Range]) -> None:
        self.raw = raw
        self.shown = tuple(shown)
        self.lines = [line.rstrip(b"\r") for a, b in self.shown for line in raw[a:b].split(b"\n")]
        self.plain: set[bytes] = set()
        self.numbered: set[tuple[int, bytes]] = set()
        for line in self.lines:
            _note(line, self.plain, self.numbered)

    def shares(self, content: bytes) -> bool:
        """Whether any line of a file's stands here."""
        lines = {line.strip() for line in content.split(b"\n")}
        if any(len(line) > SHORT for line in lines & self.plain):
            return True
        return any(line in lines for _, line in self.numbered)

    def names(self, path: str) -> bool:
        """Whether a line begins with the file's name and then has something of it, as grep writes it."""
        return any(_after_name(line, path) is not None for line in self.lines)

    def of(self, name: str) -> tuple[set[bytes], set[tuple[int, bytes]]]:
        """The lines that may be those of the file called `name`: plain, and with their numbers."""
        rests = [rest for line in self.lines if (rest := _after_name(line, name)) is not None] if name else []
        if not rests:
            return self.plain, self.numbered
        plain, numbered = set(self.plain), set(self.numbered)
        for rest in rests:
            _note(rest, plain, numbered)
        return plain, numbered


def _note(line: bytes, plain: set[bytes], numbered: set[tuple[int, bytes]]) -> None:
    ended = (line[:-1].removesuffix(b"^M"),) if line.endswith(b"$") else ()  # as `cat -A` ends each
    for text in (line, *ended):
        plain.add(text.strip())
        if text[:1] in (b"+", b">", b"<"):
            plain.add(text[1:].strip())
        if match := NUMBERED.match(text) or BLAMED.match(text):
            numbered.add((int(match[1]), match[2].strip()))


def _after_name(line: bytes, name: str) -> bytes | None:
    """What follows a file's name and a sign, where a line begins with it as a path from anywhere."""
    path = name.encode("utf-8", "surrogateescape")
    base = path[path.rfind(b"/") + 1 :]
    end = line.find(base) + len(base)
    if end < len(base) or line[end : end + 1] not in (b":", b"-"):
        return None
    word = line[:end].removeprefix(b"./")
    fits = word == path or path.endswith(b"/" + word) or (word[:1] == b"/" and word.endswith(b"/" + path))
    return line[end + 1 :] if fits else None


def shown_of(content: bytes, said: Said, lines: Lines | None, name: str) -> Coverage | None:
    """The part of a file that stood in the shown parts of an output; None where nothing of it did.

    `lines` narrows where in the file to look. Exact text is looked for first, then line by line, so that line
    numbers and path prefixes (of the file called `name`) do not hide it.
    """
    starts = _line_starts(content)
    first, last = _resolved(lines, len(starts))
    begin = starts[first - 1] if first <= len(starts) else len(content)
    end = starts[last] if last < len(starts) else len(content)
    span = content[begin:end].rstrip(b"\n")
    if not content:
        return FULL
    at = said.raw.find(span) if span.strip() else -1
    if at >= 0:
        ranges = [(max(a, at), min(b, at + len(span))) for a, b in said.shown]
        found = [(a - at + begin, b - at + begin) for a, b in ranges if b > a]
    else:
        found = _by_lines(content, starts, said, (first, last), name)
    return _coverage(found, content)


def line_coverage(content: bytes, first: int, last: int) -> Coverage:
    """The coverage of lines `first` to `last`, from 1."""
    starts = _line_starts(content)
    if not starts or first > len(starts):
        return FULL if not content else Coverage(kind="snippet")
    end = starts[last] if last < len(starts) else len(content)
    return _coverage([(starts[first - 1], end)], content) or FULL


def _line_starts(content: bytes) -> list[int]:
    starts = [0]
    at = content.find(b"\n")
    while at >= 0:
        starts.append(at + 1)
        at = content.find(b"\n", at + 1)
    if starts[-1] == len(content):
        starts.pop()
    return starts


def _resolved(lines: Lines | None, count: int) -> Lines:
    if lines is None:
        return 1, count
    first, last = lines
    first = max(1, count + first + 1) if first < 0 else first
    return first, count if last == -1 else min(last, count)


def _by_lines(content: bytes, starts: list[int], said: Said, within: Lines, name: str) -> list[Range]:
    plain, numbered = said.of(name)
    found: list[Range] = []
    for n in range(within[0], within[1] + 1):
        begin, end = starts[n - 1], starts[n] if n < len(starts) else len(content)
        line = content[begin:end].strip()
        if (n, line) in numbered or (len(line) > SHORT and line in plain):
            found.append((begin, end))
    return found


def _coverage(found: list[Range], content: bytes) -> Coverage | None:
    merged: list[Range] = []
    for a, b in sorted(found):
        if merged and not content[merged[-1][1] : a].strip():
            merged[-1] = merged[-1][0], max(b, merged[-1][1])
        else:
            merged.append((a, b))
    if not merged:
        return None
    if len(merged) == 1 and not content[: merged[0][0]].strip() and not content[merged[0][1] :].strip():
        return FULL
    return Coverage(kind="partial", ranges=tuple(merged))
