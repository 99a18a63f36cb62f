"""Bugs planted by changing a syntax tree: each a small change of a few characters or one statement.

Only the text of the changed node is written anew; every other byte of the file stays.
"""

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

Operator = Callable[["Source", ast.AST], Iterator["Change"]]

COMPARISONS = {
    "<": ("<=", ">="),
    "<=": ("<", ">"),
    ">": (">=", "<="),
    ">=": (">", "<"),
    "==": ("!=",),
    "!=": ("==",),
    "in": ("not in",),
    "not in": ("in",),
    "is": ("is not",),
    "is not": ("is",),
}
ARITHMETIC = {"+": ("-",), "-": ("+",), "*": ("+", "//"), "/": ("//", "*"), "//": ("/",), "%": ("//",), "**": ("*",)}
NAMES = {
    "min": "max",
    "max": "min",
    "any": "all",
    "all": "any",
    "startswith": "endswith",
    "endswith": "startswith",
    "lstrip": "rstrip",
    "rstrip": "lstrip",
    "lower": "upper",
    "upper": "lower",
    "find": "rfind",
    "rfind": "find",
    "split": "rsplit",
    "rsplit": "split",
    "append": "extend",
    "floor": "ceil",
    "ceil": "floor",
}


@dataclass(frozen=True)
class Change:
    """Replace the bytes [begin, end) of a file."""

    begin: int
    end: int
    text: str


@dataclass(frozen=True)
class Mutant:
    path: str
    operator: str
    line: int
    function: str
    """Qualified name of the function that it stands in; "" at the top level."""
    change: Change

    def apply(self, data: bytes) -> bytes:
        return data[: self.change.begin] + self.change.text.encode() + data[self.change.end :]


class Source:
    """A file's bytes and where its nodes stand in them."""

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

    def line_of(self, node: ast.stmt) -> tuple[int, int]:
        """The whole lines that a statement fills, the last line's end included."""
        return self._lines[node.lineno - 1], min(self._lines[node.end_lineno or node.lineno], len(self.data))

    def between(self, left: ast.AST, right: ast.AST, words: dict[str, tuple[str, ...]]) -> Iterator[Change]:
        """Changes of the one operator that stands between two nodes; none where comments or brackets do too."""
        begin, end = self.end(left), self.begin(right)
        text = self.data[begin:end].decode("utf-8", "replace")
        match = re.fullmatch(r"(\)*\s*)(\S+(?: \S+)?)(\s*\(*)", text)
        if match is None or match[2] not in words:
            return
        at = begin + len(match[1].encode())
        for new in words[match[2]]:
            yield Change(at, at + len(match[2].encode()), new)


def mutants(path: str, data: bytes) -> list[Mutant]:
    """Every change that the operators know for a file, in its order. A file that does not parse has none."""
    try:
        tree = ast.parse(data)
    except (SyntaxError, ValueError):
        return []
    source = Source(data)
    found: list[Mutant] = []
    for node, function in _nodes(tree, ""):
        for name, operator in OPERATORS.items():
            for change in operator(source, node):
                mutant = Mutant(path, name, getattr(node, "lineno", 0), function, change)
                if _parses(mutant.apply(data)):
                    found.append(mutant)
    return found


def _parses(data: bytes) -> bool:
    try:
        ast.parse(data)
    except (SyntaxError, ValueError):
        return False
    return True


def _nodes(node: ast.AST, function: str) -> Iterator[tuple[ast.AST, str]]:
    """Nodes of code that runs: no annotations, docstrings, decorators, `__all__` or `if TYPE_CHECKING`."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "type_params"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or _is_apart(child):
                continue
            inner = function
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                inner = f"{function}.{child.name}".lstrip(".")
            yield child, inner
            yield from _nodes(child, inner)


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


def _compare(source: Source, node: ast.AST) -> Iterator[Change]:
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        yield from source.between(node.left, node.comparators[0], COMPARISONS)


def _boolean(source: Source, node: ast.AST) -> Iterator[Change]:
    if isinstance(node, ast.BoolOp) and len(node.values) == 2:
        yield from source.between(node.values[0], node.values[1], {"and": ("or",), "or": ("and",)})


def _arithmetic(source: Source, node: ast.AST) -> Iterator[Change]:
    if isinstance(node, ast.BinOp) and not _is_text(node.left) and not _is_text(node.right):
        yield from source.between(node.left, node.right, ARITHMETIC)
    if isinstance(node, ast.AugAssign) and not _is_text(node.value):
        swaps = {f"{k}=": tuple(f"{v}=" for v in vs) for k, vs in ARITHMETIC.items()}
        yield from source.between(node.target, node.value, swaps)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str | bytes))


def _negate(source: Source, node: ast.AST) -> Iterator[Change]:
    if isinstance(node, ast.If | ast.IfExp):
        test = node.test
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            yield Change(source.begin(test), source.end(test), source.text(test.operand))
        elif isinstance(test, ast.Name | ast.Call | ast.Attribute | ast.Subscript):
            yield Change(source.begin(test), source.end(test), f"not {source.text(test)}")
        else:
            yield Change(source.begin(test), source.end(test), f"not ({source.text(test)})")


def _constant(source: Source, node: ast.AST) -> Iterator[Change]:
    if not isinstance(node, ast.Constant):
        return
    value = node.value
    if isinstance(value, bool):
        yield Change(source.begin(node), source.end(node), str(not value))
    elif isinstance(value, int) and abs(value) < 1 << 31 and source.text(node).isdigit():
        yield Change(source.begin(node), source.end(node), str(value + 1))
        if value > 0:
            yield Change(source.begin(node), source.end(node), str(value - 1))


def _off_by_one(source: Source, node: ast.AST) -> Iterator[Change]:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range" and node.args:
        last = node.args[1] if len(node.args) > 1 else node.args[0]
        yield Change(source.end(last), source.end(last), " - 1")
    if isinstance(node, ast.Slice):
        for bound in (node.lower, node.upper):
            if bound is not None and not isinstance(bound, ast.Constant | ast.UnaryOp):
                yield Change(source.end(bound), source.end(bound), " + 1")


def _drop(source: Source, node: ast.AST) -> Iterator[Change]:
    for block in ("body", "orelse", "finalbody"):
        statements = getattr(node, block, None)
        if not isinstance(statements, list):
            continue
        for statement in statements:
            if not _can_go(statement):
                continue
            begin, end = source.line_of(statement)
            lead = source.data[begin : source.begin(statement)]
            tail = source.data[source.end(statement) : end]
            if lead.strip() or tail.strip():
                continue
            pause = lead.decode() + "pass\n"
            yield Change(begin, end, pause if len(statements) == 1 else "")


def _can_go(node: ast.AST) -> bool:
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Call)
    if isinstance(node, ast.If):
        return not node.orelse and len(node.body) == 1 and isinstance(node.body[0], ast.Raise | ast.Return)
    return isinstance(node, ast.AugAssign | ast.Continue | ast.Break)


def _swap(source: Source, node: ast.AST) -> Iterator[Change]:
    if not isinstance(node, ast.Call) or any(isinstance(a, ast.Starred) for a in node.args):
        return
    for first, second in zip(node.args, node.args[1:], strict=False):
        if source.text(first) == source.text(second):
            continue
        middle = source.data[source.end(first) : source.begin(second)].decode("utf-8", "replace")
        text = source.text(second) + middle + source.text(first)
        yield Change(source.begin(first), source.end(second), text)


def _name(source: Source, node: ast.AST) -> Iterator[Change]:
    if not isinstance(node, ast.Call):
        return
    func = node.func
    if isinstance(func, ast.Name) and func.id in NAMES:
        yield Change(source.begin(func), source.end(func), NAMES[func.id])
    if isinstance(func, ast.Attribute) and func.attr in NAMES:
        yield Change(source.end(func) - len(func.attr), source.end(func), NAMES[func.attr])


def _return(source: Source, node: ast.AST) -> Iterator[Change]:
    if isinstance(node, ast.Return) and node.value is not None:
        value = node.value
        if isinstance(value, ast.Tuple) and len(value.elts) == 2 and source.text(value).startswith("("):
            first, second = value.elts
            yield Change(source.begin(value), source.end(value), f"({source.text(second)}, {source.text(first)})")
        elif isinstance(value, ast.UnaryOp) and isinstance(value.op, ast.Not | ast.USub):
            yield Change(source.begin(value), source.end(value), source.text(value.operand))


def _handler(source: Source, node: ast.AST) -> Iterator[Change]:
    others = {"KeyError": "IndexError", "IndexError": "KeyError", "ValueError": "TypeError", "TypeError": "ValueError"}
    if isinstance(node, ast.ExceptHandler) and isinstance(node.type, ast.Name) and node.type.id in others:
        yield Change(source.begin(node.type), source.end(node.type), others[node.type.id])


OPERATORS: dict[str, Operator] = {
    "inverted comparison": _compare,
    "and/or": _boolean,
    "wrong operator": _arithmetic,
    "negated condition": _negate,
    "wrong constant": _constant,
    "off by one": _off_by_one,
    "dropped statement": _drop,
    "swapped arguments": _swap,
    "wrong function": _name,
    "wrong return": _return,
    "wrong exception": _handler,
}
