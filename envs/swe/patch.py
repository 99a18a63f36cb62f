"""Unified diffs as git writes them: which files they touch, and taking some of them out."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import unified_diff
from itertools import pairwise

HEADER = re.compile(r"^diff --git (.+)$")
HUNK = re.compile(r"^@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@")
KNOWN = re.compile(
    r"diff --git |index |(old|new|new file|deleted file) mode |(dis)?similarity index |(rename|copy) (from|to) "
    r"|--- |\+\+\+ |\\ |GIT binary patch$|(literal|delta) \d+$|[A-Za-z][!-~]{5,65}$|$"
)
"""What may stand between hunks. By any other line `patch` might find a file that no header names: a context diff, an
indented one, `Index:`."""
NAMES = re.compile(r'("(?:[^"\\]|\\.)*"|\S+)\s+("(?:[^"\\]|\\.)*"|\S+)\s*')
QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


@dataclass(frozen=True)
class FilePatch:
    """One file's part of a diff. `path` is the new name, `old_path` the former one where it differs."""

    path: str
    text: str
    old_path: str = ""
    creates: bool = False
    others: tuple[str, ...] = ()
    """What else some program may take for the file's name, as it reads another line of the header or less of one."""

    @property
    def paths(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self.path, *filter(None, (self.old_path, *self.others)))))


def split(patch: str) -> list[FilePatch]:
    """A diff's parts in order. Diffs without `diff --git` lines (only `---` and `+++`) are understood too, also in the
    middle of others: what applies a patch takes them for files of their own. Whatever else stands between is left
    out."""
    lines = [line for line, inside in _placed(_lines(patch)) if inside or KNOWN.match(line)]
    placed = list(_placed(lines))
    starts: list[int] = []
    hunks = False
    for i, (line, inside) in enumerate(placed):
        if inside:
            hunks = True
        elif HEADER.match(line) or (_plain_header(lines, i) and (hunks or not starts)):
            starts.append(i)
            hunks = False
    return [_part(lines[a:b]) for a, b in pairwise([*starts, len(lines)])]


def _plain_header(lines: list[str], i: int) -> bool:
    return lines[i].startswith("--- ") and i + 1 < len(lines) and lines[i + 1].startswith("+++ ")


def _placed(lines: list[str]) -> Iterator[tuple[str, bool]]:
    """Each line, and whether it is a hunk's: its head, or one of as many lines as the head names."""
    old = new = 0
    for line in lines:
        if (old > 0 or new > 0) and line[:1] in (" ", "+", "-", "\n", "\\"):
            old -= line[:1] in (" ", "-", "\n")
            new -= line[:1] in (" ", "+", "\n")
            yield line, True
        elif match := HUNK.match(line):
            old, new = (int(n) if n is not None else 1 for n in match.groups())
            yield line, True
        else:
            old = new = 0
            yield line, False


def touched(patch: str) -> list[str]:
    """Every path that a diff names, old and new, in order and once."""
    return list(dict.fromkeys(path for part in split(patch) for path in part.paths if path))


def without(patch: str, drop: Callable[[FilePatch], bool]) -> tuple[str, list[str]]:
    """The diff without the parts that `drop` names, and the paths of those."""
    parts = [(part, drop(part)) for part in split(patch)]
    return "".join(p.text for p, gone in parts if not gone), [p.path for p, gone in parts if gone]


def diff(path: str, before: str | None, after: str | None) -> str:
    """One text file's change as git writes it; None is a file that does not exist. "" where nothing changed."""
    if before == after:
        return ""
    lines = [f"diff --git a/{path} b/{path}\n"]
    if before is None:
        lines.append("new file mode 100644\n")
    if after is None:
        lines.append("deleted file mode 100644\n")
    old = "/dev/null" if before is None else f"a/{path}"
    new = "/dev/null" if after is None else f"b/{path}"
    for line in unified_diff(_lines(before), _lines(after), old, new):
        lines.append(line if line.endswith("\n") else line + "\n\\ No newline at end of file\n")
    return "".join(lines)


def _lines(text: str | None) -> list[str]:
    """Only a newline ends a line; what else Python takes for one stays inside."""
    parts = (text or "").split("\n")
    return [part + "\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])


def _part(lines: list[str]) -> FilePatch:
    old = new = ""
    creates = False
    names = _header_names(lines[0])
    for line in lines:
        word = line.rstrip("\r\n")
        if word.startswith("@@") or word.startswith("GIT binary patch"):
            break
        if word.startswith("--- "):
            old = _name(word[4:])
            names += [old, _first_name(word[4:])]
        elif word.startswith("+++ "):
            new = _name(word[4:])
            names += [new, _first_name(word[4:])]
        elif word.startswith(("rename from ", "copy from ")):
            old = _unquoted(word.split(" ", 2)[2])
            names.append(old)
        elif word.startswith(("rename to ", "copy to ")):
            new = _unquoted(word.split(" ", 2)[2])
            names.append(new)
        elif word.startswith("new file mode"):
            creates = True
    if not (old or new):
        old = new = names[0] if names else ""
    path = new or old
    old_path = old if old and old != path else ""
    others = tuple(name for name in dict.fromkeys(names) if name not in ("", path, old_path))
    return FilePatch(path, "".join(lines), old_path, creates or not old, others)


def _header_names(line: str) -> list[str]:
    """Of `a/P b/P`, where both halves are the same; and what they are to a program for which a space ends a name."""
    match = HEADER.match(line)
    if match is None:
        return []
    rest = match.group(1).rstrip("\r")
    middle = (len(rest) - 1) // 2
    halves = [_name(rest[:middle]), _name(rest[middle + 1 :])]
    two = NAMES.fullmatch(rest)
    return [*(halves[:1] if halves[0] == halves[1] else []), *([_name(two[1]), _name(two[2])] if two else [])]


def _name(word: str) -> str:
    """The path of a `---` or `+++` line, less its first folder (`a/`, `b/` or whatever it is called) as `-p1` takes it;
    "" for /dev/null."""
    quoted = QUOTED.match(word)
    word = _unquoted(quoted[0] if quoted else word.partition("\t")[0].rstrip())
    return "" if word == "/dev/null" else word.partition("/")[2] or word


def _first_name(word: str) -> str:
    """The same where a space ends a name, as it does for some programs where no tab follows."""
    return _name(word if "\t" in word or word.startswith('"') else (word.split() or [""])[0])


def _unquoted(word: str) -> str:
    match = QUOTED.fullmatch(word)
    if match is None:
        return word
    data = re.sub(
        r"\\([0-7]{3}|.)",
        lambda m: chr(int(m[1], 8)) if m[1].isdigit() else ESCAPES.get(m[1], m[1]),
        match.group(1),
    )
    return data.encode("latin-1", "replace").decode("utf-8", "replace")
