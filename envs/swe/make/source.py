"""A file's bytes and where the nodes of its syntax tree stand in them: what planted bugs are written with."""

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Change:
    """Replace the bytes [begin, end) of a file."""

    begin: int
    end: int
    text: str


class Source:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self._lines = [0]
        for line in data.split(b"\n"):
            self._lines.append(self._lines[-1] + len(line) + 1)

    def begin(self, node: ast.AST) -> int:
        return self._lines[node.lineno - 1] + node.col_offset  # type: ignore[attr-defined, no-any-return]

    def end(self, node: ast.AST) -> int:
        return self._lines[node.end_lineno - 1] + node.end_col_offset  # type: ignore[attr-defined, no-any-return]

    def text(self, node: ast.AST) -> str:
        return self.data[self.begin(node) : self.end(node)].decode("utf-8")

    def replace(self, node: ast.AST, text: str) -> Change:
        return Change(self.begin(node), self.end(node), text)

    def line(self, number: int) -> int:
        """Where a line begins; lines count from 1, and one past the last is the file's end."""
        return min(self._lines[number - 1], len(self.data))

    def whole_lines(self, first: ast.stmt, last: ast.stmt) -> tuple[int, int] | None:
        """[begin, end) of the lines that statements fill, the last line's end included; None where something else
        stands on them too."""
        begin, end = self.line(first.lineno), self.line((last.end_lineno or last.lineno) + 1)
        beside = self.data[begin : self.begin(first)] + self.data[self.end(last) : end]
        return None if beside.strip() else (begin, end)

    def indent(self, statement: ast.stmt) -> str:
        return self.data[self.line(statement.lineno) : self.begin(statement)].decode("utf-8", "replace")

    def between(self, left: ast.AST, right: ast.AST, words: Mapping[str, tuple[str, ...]]) -> Iterator[Change]:
        """Changes of the one operator that stands between two nodes; none where a comment does too."""
        begin, end = self.end(left), self.begin(right)
        text = self.data[begin:end].decode("utf-8", "replace")
        match = re.fullmatch(r"(\)*\s*)(\S+(?: \S+)?)(\s*\(*)", text)
        if match is None or match[2] not in words:
            return
        at = begin + len(match[1].encode())
        for new in words[match[2]]:
            yield Change(at, at + len(match[2].encode()), new)

    def bracketed(self, node: ast.AST) -> bool:
        """Whether the node itself stands in round brackets of its own."""
        before, after = self.data[: self.begin(node)].rstrip(), self.data[self.end(node) :].lstrip()
        return before.endswith(b"(") and after.startswith(b")")

    def parses_with(self, change: Change) -> bool:
        data = self.data[: change.begin] + change.text.encode() + self.data[change.end :]
        try:
            ast.parse(data)
        except (SyntaxError, ValueError):
            return False
        return True


def is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str | bytes))
