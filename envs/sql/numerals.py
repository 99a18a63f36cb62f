"""Text where a number is wanted, as MySQL takes it: by the number that it begins with, or else as 0.

DuckDB refuses to compare, add or average text and numbers, or fails at the first text that is no number. The
rewriting is made only for a query that failed so. Source of the rules: MySQL's manual, "Type Conversion in Expression
Evaluation".
"""

import re
from collections.abc import Iterator

import sqlglot
from sqlglot import exp
from sqlglot.optimizer.scope import Scope, traverse_scope

from envs.sql.manifest import Manifest

TEXT_REFUSED = re.compile(
    r"Cannot compare values of type (VARCHAR and|.* and type VARCHAR)|argument types '[^']*VARCHAR|"
    r"Could not convert string|Cannot mix values of type"
)
"""How DuckDB words that it was given text for a number."""

_NUMERAL = r"^\s*[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_COMPARED = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.NullSafeEQ)
_RECKONED = (exp.Add, exp.Sub, exp.Mul, exp.Div, exp.IntDiv, exp.Mod)
_SUMMED = (exp.Sum, exp.Avg, exp.Stddev, exp.StddevPop, exp.StddevSamp, exp.Variance, exp.VariancePop)
_COUNTED = (exp.Count, exp.Length, exp.Round, exp.Abs, exp.Ceil, exp.Floor)
_NUMBERS = ("INT", "DECIMAL", "DOUBLE", "FLOAT", "REAL", "NUMERIC")
_TEXT, _NUMBER = "text", "number"


def numerals_as_there(sql: str, manifest: Manifest) -> str:
    """DuckDB's query with each text that meets a number read as one."""
    tree = sqlglot.parse_one(sql, dialect="duckdb")
    kinds = _column_kinds(tree, manifest)
    for node in list(tree.find_all(*_COMPARED, *_RECKONED, *_SUMMED, exp.Between, exp.In)):
        operands = list(_operands(node))
        found = [_kind(operand, kinds) for operand in operands]
        if _TEXT in found and (_NUMBER in found or not isinstance(node, (*_COMPARED, exp.Between, exp.In))):
            for operand, kind in zip(operands, found, strict=True):
                if kind == _TEXT:
                    operand.replace(_number_of(operand.copy()))
    return tree.sql(dialect="duckdb")


def texts_joined(sql: str, manifest: Manifest) -> str:
    """DuckDB's query with `||` for each + that has a text on one side, as T-SQL joins texts."""
    tree = sqlglot.parse_one(sql, dialect="duckdb")
    kinds = _column_kinds(tree, manifest)
    texts = {id(column) for column in tree.find_all(exp.Column) if kinds.get(id(column)) == _TEXT}
    for node in reversed(list(tree.find_all(exp.Add))):
        if any(_is_text(side, texts) for side in (node.this, node.expression)):
            node.replace(exp.DPipe(this=node.this, expression=node.expression))
    return tree.sql(dialect="duckdb")


def _is_text(node: exp.Expr, columns: set[int]) -> bool:
    node = node.unnest()
    if isinstance(node, exp.Cast):
        return node.is_type("TEXT", "VARCHAR")
    return (
        id(node) in columns
        or isinstance(node, (exp.DPipe, exp.Upper, exp.Lower, exp.Trim, exp.Substring))
        or (isinstance(node, exp.Literal) and node.is_string)
    )


def _operands(node: exp.Expr) -> Iterator[exp.Expr]:
    for name in ("this", "expression", "low", "high"):
        if isinstance(part := node.args.get(name), exp.Expr):
            yield part
    if isinstance(node, exp.In):
        yield from node.expressions


def _kind(node: exp.Expr, kinds: dict[int, str]) -> str | None:
    """Text or number, as far as that can be told without running the query."""
    node = node.unnest()
    if isinstance(node, exp.Literal):
        return _TEXT if node.is_string else _NUMBER
    if isinstance(node, exp.Column):
        return kinds.get(id(node))
    if isinstance(node, (exp.Min, exp.Max)) and isinstance(node.this, exp.Expr):
        return _kind(node.this, kinds)
    return _NUMBER if isinstance(node, (exp.Neg, *_RECKONED, *_SUMMED, *_COUNTED)) else None


def _column_kinds(tree: exp.Expr, manifest: Manifest) -> dict[int, str]:
    """By id of the `Column` node: what the tables of its scope say; a name that several tables have is left out where
    they differ."""
    kinds: dict[int, str] = {}
    for scope in traverse_scope(tree):
        for column in scope.columns:
            sources = [scope.sources.get(column.table)] if column.table else list(scope.sources.values())
            found = {_kind_in(source, column.name, kinds, manifest) for source in sources} - {None}
            if len(found) == 1:
                kinds[id(column)] = str(found.pop())
    return kinds


def _kind_in(source: object, column: str, kinds: dict[int, str], manifest: Manifest) -> str | None:
    """Of a table's column, or of what a subquery selects under that name; None where the source has no such column."""
    folded = column.casefold()
    if isinstance(source, Scope):
        selected = getattr(source.expression, "selects", ())
        return next((_kind(e.unalias(), kinds) for e in selected if e.alias_or_name.casefold() == folded), None)
    relation = manifest.find(source.name) if isinstance(source, exp.Table) else None
    kind = next((c.type for c in relation.columns if c.name.casefold() == folded), None) if relation else None
    if kind is None or kind == "VARCHAR":
        return kind and _TEXT
    return _NUMBER if any(word in kind for word in _NUMBERS) else "other"


def _number_of(node: exp.Expr) -> exp.Expr:
    if isinstance(node, exp.Literal):
        begins = re.match(_NUMERAL, node.name)
        return exp.Literal.number(begins[0].strip().lstrip("+")) if begins else exp.Literal.number(0)
    read = exp.func("regexp_extract", node.copy(), exp.Literal.string(_NUMERAL))
    number = exp.func("coalesce", exp.TryCast(this=read, to=exp.DataType.build("DOUBLE")), exp.Literal.number(0))
    return exp.Case().when(exp.Not(this=exp.Is(this=node, expression=exp.Null())), number)
