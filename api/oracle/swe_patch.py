"""A unified diff as edits: what each hunk replaces, which files are new, gone or renamed."""

import re
from dataclasses import dataclass, replace

_HUNK = re.compile(r"^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")


@dataclass(frozen=True)
class Hunk:
    old: str
    """Context and removed lines, with their line ends."""
    new: str
    new_start: int
    """1-based, in the file as the hunks before this one left it."""

    @property
    def old_lines(self) -> int:
        return len(self.old.splitlines(keepends=True))


@dataclass(frozen=True)
class FileEdit:
    """`before` is None for a new file, `after` for one that goes."""

    before: str | None
    after: str | None
    hunks: tuple[Hunk, ...] = ()


def file_edits(patch: str) -> list[FileEdit]:
    """Files in the order of the diff. Text that is no diff gives an empty list."""
    edits: list[FileEdit] = []
    lines = patch.splitlines(keepends=True)
    i = 0
    while i < len(lines):
        line = lines[i]
        if line.startswith("--- ") and i + 1 < len(lines) and lines[i + 1].startswith("+++ "):
            edits.append(FileEdit(_path(line), _path(lines[i + 1])))
            i += 2
        elif edits and (head := _HUNK.match(line)):
            hunk, i = _hunk(head, lines, i + 1)
            edits[-1] = replace(edits[-1], hunks=(*edits[-1].hunks, hunk))
        else:
            i += 1
    return edits


def misplaced(patch: str) -> str:
    """A diff that applies and mends nothing: the added lines in a new file that nothing imports."""
    added = [line for edit in file_edits(patch) for hunk in edit.hunks for line in hunk.new.splitlines()]
    name = "proposed_change.txt"
    body = "".join(f"+{line}\n" for line in added or ["nothing"])
    head = f"diff --git a/{name} b/{name}\nnew file mode 100644\n--- /dev/null\n+++ b/{name}\n"
    return f"{head}@@ -0,0 +1,{max(1, len(added))} @@\n{body}"


def _path(line: str) -> str | None:
    path = line[4:].rstrip("\r\n").split("\t")[0]
    if path == "/dev/null":
        return None
    return path[2:] if path[:2] in ("a/", "b/") else path


def _hunk(head: re.Match[str], lines: list[str], i: int) -> tuple[Hunk, int]:
    old_left, new_left = int(head[2] or 1), int(head[4] or 1)
    old: list[str] = []
    new: list[str] = []
    while i < len(lines) and (old_left > 0 or new_left > 0 or lines[i].startswith("\\")):
        mark, rest = lines[i][:1], lines[i][1:]
        if mark == "\\":
            _chomp(old, new, lines[i - 1][:1])
        if mark in (" ", "-", "\n", "\r"):
            old.append(rest or "\n")
            old_left -= 1
        if mark in (" ", "+", "\n", "\r"):
            new.append(rest or "\n")
            new_left -= 1
        i += 1
    return Hunk("".join(old), "".join(new), int(head[3])), i


def _chomp(old: list[str], new: list[str], mark: str) -> None:
    """The line before `\\ No newline at end of file` has none."""
    for side, marks in ((old, (" ", "-")), (new, (" ", "+"))):
        if mark in marks and side:
            side[-1] = side[-1].rstrip("\r\n")
