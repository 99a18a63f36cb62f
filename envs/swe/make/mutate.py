"""Bugs planted by changing a syntax tree: each a small change of a few characters or one statement.

Only the text of the changed node is written anew; every other byte of the file stays. What the operators do lies in
`expressions`, `calls`, `statements` and `variables`.
"""

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from envs.swe.make import calls, expressions, statements, variables
from envs.swe.make.source import Change, Source

Operator = Callable[[Source, ast.AST], Iterator[Change]]

OPERATORS: dict[str, Operator] = {
    "default argument": calls.default,
    "inverted comparison": expressions.compare,
    "and/or": expressions.boolean,
    "dropped condition": expressions.condition_dropped,
    "wrong operator": expressions.arithmetic,
    "lost accumulation": expressions.accumulation,
    "wrong precedence": expressions.precedence,
    "negated condition": expressions.negate,
    "swapped branches": expressions.branches,
    "wrong constant": expressions.constant,
    "off by one": expressions.off_by_one,
    "slice bounds": expressions.slice_bounds,
    "missing await": expressions.awaited,
    "swapped arguments": calls.swapped,
    "dropped argument": calls.keyword_dropped,
    "wrong function": calls.renamed,
    "removed call": calls.left_out,
    "wrong return": calls.returned,
    "dropped statement": statements.dropped,
    "dropped guard": statements.guard_dropped,
    "dropped else": statements.else_dropped,
    "wrong handler": statements.handler,
    "wrong exception": statements.raised,
    "wrong loop exit": statements.loop_exit,
    "wrong order": statements.order,
    "wrong variable": variables.wrong_variable,
    "wrong attribute": variables.wrong_attribute,
}


@dataclass(frozen=True)
class Mutant:
    """One change of a file. `operator` names one of `OPERATORS`, or says who else wrote it."""

    path: str
    operator: str
    line: int
    function: str
    """Qualified name of the function that it stands in; "" at the top level."""
    change: Change

    def apply(self, data: bytes) -> bytes:
        return data[: self.change.begin] + self.change.text.encode() + data[self.change.end :]


def mutants(path: str, data: bytes) -> list[Mutant]:
    """Every change that the operators know for a file, in its order and each once. A file that does not parse has
    none."""
    try:
        tree = ast.parse(data)
    except (SyntaxError, ValueError):
        return []
    source = Source(data)
    found: dict[Change, Mutant | None] = {}
    for node in _nodes(tree):
        for name, operator in OPERATORS.items():
            for change in operator(source, node):
                if change not in found:
                    line = data.count(b"\n", 0, change.begin) + 1
                    around = Around.of(tree, line)
                    mutant = Mutant(path, name, line, around.function, change)
                    found[change] = mutant if around.differs(source, change) else None
    return [mutant for mutant in found.values() if mutant is not None]


@dataclass(frozen=True)
class Around:
    """The innermost function around a line, or the statement of the top level that it belongs to."""

    function: str
    """Qualified name; "" at the top level."""
    first: int
    last: int

    @classmethod
    def of(cls, tree: ast.Module, line: int) -> "Around":
        name, found, inside = "", cls("", 1, 0), list(tree.body)
        while True:
            around = next((n for n in inside if _first(n) <= line <= (n.end_lineno or n.lineno)), None)
            if not isinstance(around, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                if around is not None and not found.last:
                    found = cls("", _first(around), around.end_lineno or around.lineno)
                return found
            name = f"{name}.{around.name}".lstrip(".")
            found = cls(name, _first(around), around.end_lineno or around.lineno)
            inside = list(around.body)

    def differs(self, source: Source, change: Change) -> bool:
        """Whether the code still parses after the change, and to something else: a bracket more may say the same."""
        begin, end = source.line(self.first), source.line(self.last + 1)
        before, after = source.data[begin:end], source.data[begin : change.begin]
        after += change.text.encode() + source.data[change.end : end]
        try:
            return _parsed(after) != _parsed(before)
        except (SyntaxError, ValueError):
            return False


def _first(node: ast.stmt) -> int:
    """Its decorators' line where it has some."""
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(decorator.lineno for decorator in decorators)])


def _parsed(lines: bytes) -> str:
    return ast.dump(ast.parse(b"if 1:\n" + lines if lines[:1] in b" \t" else lines))


def _nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Nodes of code that runs: no annotations, docstrings, decorators, `__all__` or `if TYPE_CHECKING`."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "type_params"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not _is_apart(child):
                yield child
                yield from _nodes(child)


def _is_apart(node: ast.AST) -> bool:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return True
    if isinstance(node, ast.If):
        words = ast.dump(node.test)
        return "TYPE_CHECKING" in words or "__name__" in words or "version_info" in words
    if isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return any(isinstance(t, ast.Name) and t.id.startswith("__") for t in targets)
    return isinstance(node, ast.Import | ast.ImportFrom | ast.JoinedStr | ast.Assert)
