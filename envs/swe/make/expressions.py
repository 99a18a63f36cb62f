"""Bugs inside of one expression: another operator, another constant, another bound, another grouping."""

import ast
from collections.abc import Iterator

from envs.swe.make.source import Change, Source, is_text

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
ARITHMETIC = {
    "+": ("-",),
    "-": ("+",),
    "*": ("+", "//"),
    "/": ("//", "*"),
    "//": ("/",),
    "%": ("//",),
    "**": ("*",),
    "<<": (">>",),
    ">>": ("<<",),
    "&": ("|",),
    "|": ("&",),
}
TIGHT = ast.Mult | ast.Div | ast.FloorDiv | ast.Mod
LOOSE = ast.Add | ast.Sub


def compare(source: Source, node: ast.AST) -> Iterator[Change]:
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        yield from source.between(node.left, node.comparators[0], COMPARISONS)


def boolean(source: Source, node: ast.AST) -> Iterator[Change]:
    if isinstance(node, ast.BoolOp) and len(node.values) == 2:
        yield from source.between(node.values[0], node.values[1], {"and": ("or",), "or": ("and",)})


def condition_dropped(source: Source, node: ast.AST) -> Iterator[Change]:
    """`a and b` becomes `a`, or `b`."""
    if isinstance(node, ast.BoolOp) and not source.bracketed(node.values[0]):
        first, second, last = node.values[0], node.values[1], node.values[-1]
        if not source.bracketed(second):
            yield Change(source.begin(first), source.begin(second), "")
        if not source.bracketed(last) and not source.bracketed(node.values[-2]):
            yield Change(source.end(node.values[-2]), source.end(last), "")


def arithmetic(source: Source, node: ast.AST) -> Iterator[Change]:
    if isinstance(node, ast.BinOp) and not is_text(node.left) and not is_text(node.right):
        yield from source.between(node.left, node.right, ARITHMETIC)
    if isinstance(node, ast.AugAssign) and not is_text(node.value):
        swaps = {f"{k}=": tuple(f"{v}=" for v in vs) for k, vs in ARITHMETIC.items()}
        yield from source.between(node.target, node.value, swaps)


def accumulation(source: Source, node: ast.AST) -> Iterator[Change]:
    """`total += x` becomes `total = x`."""
    if isinstance(node, ast.AugAssign):
        words = {f"{operator}=": ("=",) for operator in ARITHMETIC}
        yield from source.between(node.target, node.value, words)


def precedence(source: Source, node: ast.AST) -> Iterator[Change]:
    """`a + b * c` becomes `(a + b) * c`, and `(a + b) * c` becomes `a + b * c`; the same for `or` and `and`."""
    if isinstance(node, ast.BinOp):
        right, left = node.right, node.left
        loose_then_tight = isinstance(node.op, LOOSE) and isinstance(right, ast.BinOp) and isinstance(right.op, TIGHT)
        if loose_then_tight and isinstance(right, ast.BinOp) and not source.bracketed(right):
            yield _grouped(source, left, right.left)
        if isinstance(node.op, TIGHT) and isinstance(left, ast.BinOp) and isinstance(left.op, LOOSE):
            yield from _ungrouped(source, left)
        if isinstance(node.op, TIGHT) and isinstance(right, ast.BinOp) and isinstance(right.op, LOOSE):
            yield from _ungrouped(source, right)
    if isinstance(node, ast.BoolOp):
        for before, value in zip(node.values, node.values[1:], strict=False):
            mixed = isinstance(node.op, ast.Or) and isinstance(value, ast.BoolOp) and isinstance(value.op, ast.And)
            if mixed and isinstance(value, ast.BoolOp) and not source.bracketed(value):
                yield _grouped(source, before, value.values[0])
        for value in node.values:
            if isinstance(node.op, ast.And) and isinstance(value, ast.BoolOp) and isinstance(value.op, ast.Or):
                yield from _ungrouped(source, value)


def _grouped(source: Source, first: ast.AST, last: ast.AST) -> Change:
    begin, end = source.begin(first), source.end(last)
    return Change(begin, end, f"({source.data[begin:end].decode()})")


def _ungrouped(source: Source, node: ast.AST) -> Iterator[Change]:
    begin, end = source.begin(node) - 1, source.end(node) + 1
    if (
        source.data[begin : begin + 1] == b"("
        and source.data[end - 1 : end] == b")"
        and b"\n" not in source.data[begin:end]
    ):
        yield Change(begin, end, source.text(node))


def negate(source: Source, node: ast.AST) -> Iterator[Change]:
    if isinstance(node, ast.If | ast.IfExp | ast.While):
        test = node.test
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            yield source.replace(test, source.text(test.operand))
        elif isinstance(test, ast.Name | ast.Call | ast.Attribute | ast.Subscript):
            yield source.replace(test, f"not {source.text(test)}")
        elif not isinstance(node, ast.While):
            yield source.replace(test, f"not ({source.text(test)})")


def branches(source: Source, node: ast.AST) -> Iterator[Change]:
    """`a if test else b` becomes `b if test else a`."""
    if isinstance(node, ast.IfExp) and not any(source.bracketed(n) for n in (node.body, node.test, node.orelse)):
        a, test, b = (source.text(n) for n in (node.body, node.test, node.orelse))
        yield source.replace(node, f"{b} if {test} else {a}")


def constant(source: Source, node: ast.AST) -> Iterator[Change]:
    if not isinstance(node, ast.Constant):
        return
    value = node.value
    if isinstance(value, bool):
        yield source.replace(node, str(not value))
    elif isinstance(value, int) and abs(value) < 1 << 31 and source.text(node).isdigit():
        yield source.replace(node, str(value + 1))
        if value > 0:
            yield source.replace(node, str(value - 1))


def off_by_one(source: Source, node: ast.AST) -> Iterator[Change]:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range" and node.args:
        last = node.args[1] if len(node.args) > 1 else node.args[0]
        yield Change(source.end(last), source.end(last), " - 1")
    if isinstance(node, ast.Slice):
        for bound in (node.lower, node.upper):
            if bound is not None and not isinstance(bound, ast.Constant | ast.UnaryOp):
                yield Change(source.end(bound), source.end(bound), " + 1")


def slice_bounds(source: Source, node: ast.AST) -> Iterator[Change]:
    """A slice without one of its bounds, and the other end of a sequence."""
    if isinstance(node, ast.Slice):
        for bound in (node.lower, node.upper, node.step):
            if bound is not None and not source.bracketed(bound):
                yield source.replace(bound, "")
    if isinstance(node, ast.Subscript) and source.text(node.slice) in ("0", "-1"):
        yield source.replace(node.slice, "-1" if source.text(node.slice) == "0" else "0")


def awaited(source: Source, node: ast.AST) -> Iterator[Change]:
    """`await x` becomes `x`."""
    if isinstance(node, ast.Await) and not source.bracketed(node.value):
        yield source.replace(node, source.text(node.value))
