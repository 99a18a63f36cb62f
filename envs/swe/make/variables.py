"""The wrong variable: a name in a function replaced by another of the same type that is bound there too.

Types are what the text shows: an annotation, a literal, a constructor, a well-known function. Parameters of which
nothing is known count as one type, as they are what is confused most.
"""

import ast
from collections.abc import Iterator

from envs.swe.make.source import Change, Source

MAKES = {
    "len": "int",
    "int": "int",
    "sum": "int",
    "str": "str",
    "repr": "str",
    "list": "list",
    "sorted": "list",
    "dict": "dict",
    "set": "set",
    "tuple": "tuple",
    "iter": "iterator",
    "float": "float",
    "bool": "bool",
}
OTHERS = 2
"""Names tried in place of one."""


def wrong_variable(source: Source, node: ast.AST) -> Iterator[Change]:
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return
    bound = _bound(node)
    for name in _own(node):
        if not isinstance(name, ast.Name) or not isinstance(name.ctx, ast.Load) or name.id not in bound:
            continue
        kind, _ = bound[name.id]
        alike = [n for n, (k, line) in bound.items() if n != name.id and k == kind and line < name.lineno]
        for other in alike[:OTHERS]:
            yield source.replace(name, other)


def wrong_attribute(source: Source, node: ast.AST) -> Iterator[Change]:
    """`self.a` for `self.b`, where `__init__` gives both the same type."""
    if not isinstance(node, ast.ClassDef):
        return
    init = next((n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"), None)
    if init is None:
        return
    parameters = _bound(init)
    kinds: dict[str, str] = {}
    for statement in init.body:
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1 and _of_self(statement.targets[0]):
            value = statement.value
            known = parameters.get(value.id) if isinstance(value, ast.Name) else None
            kind = known[0] if known else _kind(value)
            if kind:
                kinds[statement.targets[0].attr] = kind  # type: ignore[attr-defined]
    for method in node.body:
        if not isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef) or method is init:
            continue
        for at in _own(method):
            if _of_self(at) and isinstance(at.ctx, ast.Load) and at.attr in kinds:  # type: ignore[attr-defined]
                name: str = at.attr  # type: ignore[attr-defined]
                alike = [n for n, kind in kinds.items() if n != name and kind == kinds[name]]
                for other in alike[:OTHERS]:
                    yield source.replace(at, f"self.{other}")


def _of_self(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"


def _own(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[ast.AST]:
    """Nodes of the function's body, without those of functions, classes, lambdas and texts inside of it."""
    waiting: list[ast.AST] = list(reversed(function.body))
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda | ast.JoinedStr):
            continue
        yield node
        waiting.extend(reversed(list(ast.iter_child_nodes(node))))


def _bound(function: ast.FunctionDef | ast.AsyncFunctionDef) -> dict[str, tuple[str, int]]:
    """Name -> (type, line from which on it is bound), for parameters and names assigned at the body's top level."""
    found: dict[str, tuple[str, int]] = {}
    arguments = function.args
    for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
        if argument.arg not in ("self", "cls"):
            kind = ast.unparse(argument.annotation) if argument.annotation else "parameter"
            found[argument.arg] = kind, 0
    for statement in function.body:
        for name, kind in _assigned(statement):
            found.setdefault(name, (kind, statement.end_lineno or statement.lineno))
    return found


def _assigned(statement: ast.stmt) -> Iterator[tuple[str, str]]:
    if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        yield statement.target.id, ast.unparse(statement.annotation)
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        target, value = statement.targets[0], statement.value
        if isinstance(target, ast.Name) and (kind := _kind(value)):
            yield target.id, kind
        if isinstance(target, ast.Tuple):
            # What one call unpacks into is of one unknown type: that is where names are mixed up.
            for name in target.elts:
                if isinstance(name, ast.Name):
                    yield name.id, f"part {statement.lineno}"


def _kind(value: ast.expr) -> str:
    """A type's name, or "" where the text does not show it."""
    if isinstance(value, ast.Constant):
        return "" if value.value is None else type(value.value).__name__
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name):
        name = value.func.id
        return MAKES.get(name) or (name if name[:1].isupper() else "")
    kinds = {ast.List: "list", ast.ListComp: "list", ast.Dict: "dict", ast.DictComp: "dict", ast.Set: "set"}
    return kinds.get(type(value), "tuple" if isinstance(value, ast.Tuple) else "")
