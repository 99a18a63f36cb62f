"""Bugs of calls and of what is called: arguments in another order or gone, another function, a call left out."""

import ast
from collections.abc import Iterator

from envs.swe.make.source import Change, Source

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
    "index": "rindex",
    "split": "rsplit",
    "rsplit": "split",
    "partition": "rpartition",
    "rpartition": "partition",
    "append": "extend",
    "popleft": "pop",
    "appendleft": "append",
    "floor": "ceil",
    "ceil": "floor",
    "union": "intersection",
    "intersection": "union",
    "keys": "values",
}
METHODS_LEFT_OUT = frozenset(
    ("strip", "lstrip", "rstrip", "lower", "upper", "casefold", "copy", "title", "capitalize", "items", "resolve")
)
"""`x.strip()` becomes `x`: calls without arguments whose value is of the same kind as what they are called on."""
FUNCTIONS_LEFT_OUT = frozenset(
    ("sorted", "list", "tuple", "set", "abs", "int", "str", "reversed", "iter", "copy", "deepcopy", "float", "bool")
)
"""`sorted(x)` becomes `x`."""


def swapped(source: Source, node: ast.AST) -> Iterator[Change]:
    if not isinstance(node, ast.Call) or any(isinstance(a, ast.Starred) for a in node.args):
        return
    for first, second in zip(node.args, node.args[1:], strict=False):
        if source.text(first) == source.text(second):
            continue
        middle = source.data[source.end(first) : source.begin(second)].decode("utf-8", "replace")
        text = source.text(second) + middle + source.text(first)
        yield Change(source.begin(first), source.end(second), text)


def keyword_dropped(source: Source, node: ast.AST) -> Iterator[Change]:
    """The last keyword argument of a call goes, with the comma before it."""
    if not isinstance(node, ast.Call) or not node.keywords or len(node.args) + len(node.keywords) < 2:
        return
    last = node.keywords[-1]
    others = [*node.args, *node.keywords[:-1]]
    before = max(others, key=source.end)
    if last.arg is not None and source.begin(last) > source.end(before) and not source.bracketed(last.value):
        yield Change(source.end(before), source.end(last), "")


def renamed(source: Source, node: ast.AST) -> Iterator[Change]:
    if not isinstance(node, ast.Call):
        return
    func = node.func
    if isinstance(func, ast.Name) and func.id in NAMES:
        yield source.replace(func, NAMES[func.id])
    if isinstance(func, ast.Attribute) and func.attr in NAMES:
        yield Change(source.end(func) - len(func.attr), source.end(func), NAMES[func.attr])


def left_out(source: Source, node: ast.AST) -> Iterator[Change]:
    if not isinstance(node, ast.Call) or node.keywords:
        return
    func = node.func
    if isinstance(func, ast.Attribute) and func.attr in METHODS_LEFT_OUT and not node.args:
        yield Change(source.end(func.value), source.end(node), ")" if source.bracketed(func.value) else "")
    if isinstance(func, ast.Name) and func.id in FUNCTIONS_LEFT_OUT and len(node.args) == 1:
        value = node.args[0]
        if isinstance(value, ast.Name | ast.Attribute | ast.Call | ast.Subscript):
            yield source.replace(node, source.text(value))
        elif not isinstance(value, ast.Starred | ast.GeneratorExp):
            yield source.replace(node, f"({source.text(value)})")


def default(source: Source, node: ast.AST) -> Iterator[Change]:
    """A parameter's default: the other truth, the next number, no text, an empty one in place of None."""
    if not isinstance(node, ast.arguments):
        return
    for value in (*node.defaults, *node.kw_defaults):
        if not isinstance(value, ast.Constant):
            continue
        text = source.text(value)
        if isinstance(value.value, bool):
            yield source.replace(value, str(not value.value))
        elif isinstance(value.value, int) and text.isdigit():
            yield source.replace(value, str(value.value + 1))
        elif isinstance(value.value, str) and value.value and text[0] in "'\"":
            yield source.replace(value, text[0] * 2)


def returned(source: Source, node: ast.AST) -> Iterator[Change]:
    """A pair the other way round, a sign or `not` lost, or the `return` before a call forgotten."""
    if not isinstance(node, ast.Return) or node.value is None:
        return
    value = node.value
    if isinstance(value, ast.Tuple) and len(value.elts) == 2 and source.text(value).startswith("("):
        first, second = value.elts
        yield source.replace(value, f"({source.text(second)}, {source.text(first)})")
    elif isinstance(value, ast.UnaryOp) and isinstance(value.op, ast.Not | ast.USub):
        yield source.replace(value, source.text(value.operand))
    elif isinstance(value, ast.Call) and not source.bracketed(value):
        yield Change(source.begin(node), source.begin(value), "")
