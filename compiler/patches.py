"""What a unified diff says of the files before it: paths, and the old lines of each hunk."""

import re
from typing import NamedTuple

_HUNK = re.compile(r"^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_OCTAL = re.compile(rb"\\([0-7]{3}|.)")
_ESCAPES = {b"n": b"\n", b"t": b"\t", b"r": b"\r"}


class Hunk(NamedTuple):
    start: int
    """1-based line of the old file; 0 where the old side is empty."""
    old: tuple[str, ...]
    """Context and removed lines, without line ends."""


class FilePatch(NamedTuple):
    old: str | None
    """Path before; None for a new file."""
    new: str | None
    hunks: tuple[Hunk, ...]


def parse_patch(text: str) -> tuple[FilePatch, ...]:
    """Files in the order of the diff. Text that is no diff gives an empty tuple."""
    out: list[FilePatch] = []
    old: str | None = None
    new: str | None = None
    hunks: list[Hunk] = []
    seen = False

    def flush() -> None:
        nonlocal hunks, seen
        if seen:
            out.append(FilePatch(old, new, tuple(hunks)))
        hunks, seen = [], False

    lines = text.split("\n")
    i = 0
    while i < len(lines):
        line = lines[i]
        if line.startswith("diff --git "):
            flush()
            old, new, seen = *_git_paths(line[len("diff --git ") :]), True
        elif line.startswith("new file mode"):
            old = None
        elif line.startswith("deleted file mode"):
            new = None
        elif line.startswith("rename from "):
            old = _unquote(line[len("rename from ") :])
        elif line.startswith("rename to "):
            new = _unquote(line[len("rename to ") :])
        elif line.startswith("--- ") and i + 1 < len(lines) and lines[i + 1].startswith("+++ "):
            if hunks:
                flush()
            old, new, seen = _path(line[4:]), _path(lines[i + 1][4:]), True
            i += 1
        elif (match := _HUNK.match(line)) and seen:
            hunk, i = _hunk(match, lines, i + 1)
            hunks.append(hunk)
            continue
        i += 1
    flush()
    return tuple(out)


def old_paths(patch: tuple[FilePatch, ...]) -> tuple[str, ...]:
    """Files that existed before and are touched, each once, in order."""
    return tuple(dict.fromkeys(p.old for p in patch if p.old is not None))


def _hunk(match: re.Match[str], lines: list[str], i: int) -> tuple[Hunk, int]:
    olds, news = int(match[2] or 1), int(match[4] or 1)
    old: list[str] = []
    while i < len(lines) and (olds > 0 or news > 0):
        mark, rest = lines[i][:1], lines[i][1:]
        if mark == "+":
            news -= 1
        elif mark == "-":
            olds -= 1
            old.append(rest)
        elif mark in (" ", ""):
            olds, news = olds - 1, news - 1
            old.append(rest)
        elif mark != "\\":
            break
        i += 1
    return Hunk(int(match[1]), tuple(old)), i


def _git_paths(rest: str) -> tuple[str | None, str | None]:
    if rest.startswith('"'):
        end = re.match(r'"(?:[^"\\]|\\.)*"', rest)
        cut = end.end() if end else len(rest)
        return _path(rest[:cut]), _path(rest[cut + 1 :])
    half = len(rest) // 2
    if rest[half : half + 1] == " " and rest[2:half] == rest[half + 3 :]:
        return _path(rest[:half]), _path(rest[half + 1 :])
    a, _, b = rest.partition(" b/")
    return _path(a), _path("b/" + b)


def _path(words: str) -> str | None:
    """A path of a `---` or `+++` line, without its a/ or b/."""
    path = _unquote(words.split("\t")[0].rstrip("\r"))
    if path == "/dev/null":
        return None
    return path[2:] if path[:2] in ("a/", "b/") else path


def _unquote(path: str) -> str:
    """Git quotes unusual paths in C's manner, with bytes in octal. U+FFFD marks what is no UTF-8: no tree has that."""
    if len(path) < 2 or path[0] != '"' or path[-1] != '"':
        return path
    raw = _OCTAL.sub(
        lambda m: bytes([int(m[1], 8)]) if len(m[1]) == 3 else _ESCAPES.get(m[1], m[1]), path[1:-1].encode()
    )
    return raw.decode("utf-8", "replace")
