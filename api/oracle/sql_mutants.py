"""Near misses of a query: small changes that often, not always, change its result.

Whoever uses one must compare the results: the list ends with two that differ unless the result is odd.
"""

from collections.abc import Callable, Iterator

import sqlglot
from sqlglot import exp

from api.oracle.chance import Chance

_FLIPPED: dict[type[exp.Expr], type[exp.Expr]] = {
    exp.GT: exp.LTE,
    exp.LT: exp.GTE,
    exp.GTE: exp.LT,
    exp.LTE: exp.GT,
    exp.EQ: exp.NEQ,
    exp.NEQ: exp.EQ,
    exp.Max: exp.Min,
    exp.Min: exp.Max,
    exp.Sum: exp.Avg,
    exp.Avg: exp.Sum,
    exp.Intersect: exp.Union,
    exp.Except: exp.Intersect,
}


def mutants(sql: str, chance: Chance) -> list[str]:
    """In an order drawn by `chance`, plausible ones before the two that cut or pad the result; none is `sql`."""
    plausible = list(dict.fromkeys(m for kind in (_flips, _drops, _shifts) for m in kind(sql)))
    plausible.sort(key=lambda mutant: chance.draw("mutant", mutant))
    return [m for m in [*plausible[:4], *_last_resorts(sql)] if m != sql]


def _flips(sql: str) -> Iterator[str]:
    """Comparisons and aggregates turned around; a join's own comparison stays."""
    for i, node in enumerate(_nodes(sql)):
        if other := _FLIPPED.get(type(node)):
            if isinstance(node, exp.EQ) and isinstance(node.expression, exp.Column):
                continue
            yield _changed(sql, i, _turned_into(other))
        elif isinstance(node, exp.Ordered):
            yield _changed(sql, i, lambda n: n.set("desc", not n.args.get("desc")))


def _turned_into(kind: type[exp.Expr]) -> Callable[[exp.Expr], object]:
    return lambda node: node.replace(kind(**node.args))


def _drops(sql: str) -> Iterator[str]:
    """A condition, grouping or limit left out."""
    for i, node in enumerate(_nodes(sql)):
        if isinstance(node, exp.Distinct) and len(node.expressions) == 1:
            yield _changed(sql, i, lambda n: n.replace(n.expressions[0]))
        elif isinstance(node, exp.Where | exp.Having | exp.Limit | exp.Distinct):
            yield _changed(sql, i, lambda n: n.pop())


def _shifts(sql: str) -> Iterator[str]:
    """A number of a condition moved by a little."""
    for i, node in enumerate(_nodes(sql)):
        if isinstance(node, exp.Literal) and not node.is_string and node.this.isdigit():
            yield _changed(sql, i, lambda n: n.replace(exp.Literal.number(int(n.this) + 3)))


def _last_resorts(sql: str) -> Iterator[str]:
    """All rows but one; and the rows with one more of nulls."""
    tree = sqlglot.parse_one(sql, read="duckdb")
    width = len(tree.selects) if isinstance(tree, exp.Query) else 1
    inner = f"({sql}) AS found"
    yield f"SELECT * FROM {inner} LIMIT (SELECT GREATEST(COUNT(*) - 1, 0) FROM {inner})"
    yield f"SELECT * FROM {inner} UNION ALL SELECT {', '.join(['NULL'] * max(1, width))}"


def _nodes(sql: str) -> list[exp.Expr]:
    return list(sqlglot.parse_one(sql, read="duckdb").walk())


def _changed(sql: str, at: int, change: Callable[[exp.Expr], object]) -> str:
    """The query with its node number `at`, in walking order, changed in place."""
    holder = exp.Paren(this=sqlglot.parse_one(sql, read="duckdb"))
    change(list(holder.this.walk())[at])
    return str(holder.this.sql("duckdb"))
