"""`str_replace_editor`: the decisions, on text alone. Reading and writing the file is the session's."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from envs.swe.tools import EditorArguments

CONTEXT_LINES = 4
"""Shown before and after a change."""


class EditRefused(Exception):
    """The edit cannot be made as asked. The words go back to the model."""


@dataclass
class Undo:
    """Former contents by path, the latest last; None where the file did not exist."""

    _former: dict[str, list[str | None]] = field(default_factory=dict)

    def remember(self, path: str, text: str | None) -> None:
        self._former.setdefault(path, []).append(text)

    def each(self) -> Iterator[tuple[str, str | None]]:
        """What `remember` was told and `last` has not taken back, in order within a path."""
        return ((path, text) for path, former in self._former.items() for text in former)

    def last(self, path: str) -> str | None:
        """Raises `EditRefused` where there is nothing to take back."""
        former = self._former.get(path)
        if not former:
            raise EditRefused(f"no edit of {path} to take back")
        return former.pop()


def numbered(text: str, first: int = 1) -> str:
    """Lines with their numbers, as `cat -n` writes them."""
    return "\n".join(f"{n:6}\t{line}" for n, line in enumerate(text.split("\n"), first))


def view(text: str, view_range: list[int] | None) -> tuple[str, int, int]:
    """The lines asked for with their numbers, and the first and last line (from 1) that they are.

    Raises `EditRefused` naming the range that there is.
    """
    lines = text.removesuffix("\n").split("\n")
    first, last = 1, len(lines)
    if view_range is not None:
        if len(view_range) != 2:
            raise EditRefused("view_range must be two numbers: [first, last]")
        first, last = view_range[0], len(lines) if view_range[1] == -1 else min(view_range[1], len(lines))
        if not 1 <= first <= len(lines) or last < first:
            raise EditRefused(f"view_range {view_range} is outside of the file, which has lines 1 to {len(lines)}")
    return numbered("\n".join(lines[first - 1 : last]), first), first, last


def replaced(text: str, arguments: EditorArguments) -> tuple[str, str]:
    """The text after `str_replace` and a view of what changed. Raises `EditRefused`."""
    old, new = arguments.old_str, arguments.new_str or ""
    if not old:
        raise EditRefused("str_replace needs old_str, the exact text to replace")
    count = text.count(old)
    if count == 0:
        raise EditRefused(
            f"old_str does not stand in {arguments.path} as given; it must match exactly, spaces and line ends too"
        )
    if count > 1:
        at = [str(n) for n in islice(_line_numbers(text, old), 10)]
        raise EditRefused(f"old_str stands {count} times (lines {', '.join(at)}); add lines around it until it is one")
    if old == new:
        raise EditRefused("old_str and new_str are the same")
    offset = text.index(old)
    after = text[:offset] + new + text[offset + len(old) :]
    return after, _around(after, text.count("\n", 0, offset), new.count("\n"))


def inserted(text: str, arguments: EditorArguments) -> tuple[str, str]:
    """The text after `insert` and a view of what changed. Raises `EditRefused`."""
    if arguments.insert_line is None or arguments.new_str is None:
        raise EditRefused("insert needs insert_line and new_str")
    lines = text.split("\n")
    there = len(lines) - 1 if text.endswith("\n") or not text else len(lines)
    if arguments.insert_line > there:
        raise EditRefused(f"insert_line {arguments.insert_line} is past the end; the file has {there} lines")
    new = arguments.new_str.removesuffix("\n").split("\n")
    after = "\n".join([*lines[: arguments.insert_line], *new, *lines[arguments.insert_line :]])
    return after, _around(after, arguments.insert_line, len(new) - 1)


def _around(text: str, line: int, height: int) -> str:
    lines = text.removesuffix("\n").split("\n")
    first = max(0, line - CONTEXT_LINES)
    return numbered("\n".join(lines[first : line + height + 1 + CONTEXT_LINES]), first + 1)


def _line_numbers(text: str, old: str) -> Iterator[int]:
    at = text.find(old)
    while at >= 0:
        yield text.count("\n", 0, at) + 1
        at = text.find(old, at + 1)
