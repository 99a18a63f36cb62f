"""Bugs of whole statements: a guard, an `else`, a handler or one line gone, two lines the other way round."""

import ast
from collections.abc import Iterator
from itertools import pairwise

from envs.swe.make.source import Change, Source

GUARD_LINES = 4
"""A guard that does more than this is no guard."""
ERRORS = {
    "KeyError": "IndexError",
    "IndexError": "KeyError",
    "ValueError": "TypeError",
    "TypeError": "ValueError",
    "AttributeError": "KeyError",
    "StopIteration": "GeneratorExit",
    "OSError": "ValueError",
    "NotImplementedError": "AttributeError",
    "LookupError": "KeyError",
    "Exception": "ValueError",
}


def blocks(node: ast.AST) -> Iterator[list[ast.stmt]]:
    for name in ("body", "orelse", "finalbody"):
        statements = getattr(node, name, None)
        if isinstance(statements, list) and statements and isinstance(statements[0], ast.stmt):
            yield statements


def dropped(source: Source, node: ast.AST) -> Iterator[Change]:
    """A call, an accumulation, a `continue` or a `break` that stands alone on its lines goes."""
    for statements in blocks(node):
        for statement in statements:
            call = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)
            if call or isinstance(statement, ast.AugAssign | ast.Continue | ast.Break):
                yield from _without(source, statement, len(statements))


def guard_dropped(source: Source, node: ast.AST) -> Iterator[Change]:
    """An `if` that only raises, returns or goes on goes."""
    for statements in blocks(node):
        for statement in statements:
            if not isinstance(statement, ast.If) or statement.orelse:
                continue
            leaves = isinstance(statement.body[-1], ast.Raise | ast.Return | ast.Continue | ast.Break)
            if leaves and (statement.end_lineno or 0) - statement.lineno < GUARD_LINES:
                yield from _without(source, statement, len(statements))


def else_dropped(source: Source, node: ast.AST) -> Iterator[Change]:
    """An `else`, with what it does, goes."""
    if not isinstance(node, ast.If | ast.For | ast.While | ast.Try) or not node.orelse:
        return
    before = node.handlers[-1].body[-1] if isinstance(node, ast.Try) and node.handlers else node.body[-1]
    begin = source.line((before.end_lineno or 0) + 1)
    end = source.line((node.orelse[-1].end_lineno or 0) + 1)
    words = source.data[begin : source.begin(node.orelse[0])].split(b"#")[0].strip()
    if words == b"else:" and not source.data[source.end(node.orelse[-1]) : end].strip():
        yield Change(begin, end, "")


def _without(source: Source, statement: ast.stmt, beside: int) -> Iterator[Change]:
    lines = source.whole_lines(statement, statement)
    if lines is None:
        return
    yield Change(*lines, source.indent(statement) + "pass\n" if beside == 1 else "")


def handler(source: Source, node: ast.AST) -> Iterator[Change]:
    """Another class is caught, one class of several, or what the handler did is not done."""
    if not isinstance(node, ast.ExceptHandler):
        return
    if isinstance(node.type, ast.Name) and node.type.id in ERRORS:
        yield source.replace(node.type, ERRORS[node.type.id])
    if isinstance(node.type, ast.Tuple) and len(node.type.elts) > 1:
        yield source.replace(node.type, source.text(node.type.elts[0]))
    if len(node.body) == 1:
        only = node.body[0]
        if isinstance(only, ast.Raise):
            yield source.replace(only, "pass")
        elif not isinstance(only, ast.Pass):
            yield source.replace(only, "raise")


def raised(source: Source, node: ast.AST) -> Iterator[Change]:
    """Another class is raised."""
    if isinstance(node, ast.Raise) and node.exc is not None:
        kind = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        if isinstance(kind, ast.Name) and kind.id in ERRORS:
            yield source.replace(kind, ERRORS[kind.id])


def loop_exit(source: Source, node: ast.AST) -> Iterator[Change]:
    if isinstance(node, ast.Break):
        yield source.replace(node, "continue")
    if isinstance(node, ast.Continue):
        yield source.replace(node, "break")


def order(source: Source, node: ast.AST) -> Iterator[Change]:
    """Two neighbouring lines change places where the first writes a name that the second reads or writes."""
    for statements in blocks(node):
        for first, second in pairwise(statements):
            if not _simple(first) or not _simple(second) or not _written(first) & (_written(second) | _read(second)):
                continue
            one, two = source.whole_lines(first, first), source.whole_lines(second, second)
            if one is None or two is None or one[1] != two[0] or not source.data[: two[1]].endswith(b"\n"):
                continue
            text = source.data[two[0] : two[1]] + source.data[one[0] : one[1]]
            yield Change(one[0], two[1], text.decode("utf-8", "replace"))


def _simple(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign | ast.AugAssign | ast.Expr) and node.lineno == node.end_lineno


def _written(node: ast.stmt) -> set[str]:
    """Names assigned to, and those whose method a call statement runs, which may change them."""
    names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Attribute):
        names |= {n.id for n in ast.walk(node.value.func) if isinstance(n, ast.Name)}
    return names


def _read(node: ast.stmt) -> set[str]:
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
