"""Near misses: a right query changed a little, as somebody does who nearly understood the question.

For showing that scorers can say no, and for policies that answer wrongly on purpose. A change of the query need
not change its result: run the candidates until one does.
"""

from collections.abc import Callable, Iterator

import sqlglot
from sqlglot import exp

Change = Callable[[exp.Expr], exp.Expr | None]

_OTHER_AGGREGATE: dict[type[exp.Expr], type[exp.Expr]] = {
    exp.Max: exp.Min,
    exp.Min: exp.Max,
    exp.Avg: exp.Max,
    exp.Sum: exp.Avg,
    exp.Count: exp.Max,
}
_OTHER_COMPARISON: dict[type[exp.Expr], type[exp.Expr]] = {
    exp.EQ: exp.NEQ,
    exp.NEQ: exp.EQ,
    exp.GT: exp.LTE,
    exp.LT: exp.GTE,
    exp.GTE: exp.LT,
    exp.LTE: exp.GT,
    exp.And: exp.Or,
    exp.Or: exp.And,
    exp.Intersect: exp.Union,
    exp.Except: exp.Intersect,
    exp.Union: exp.Intersect,
}


def mutations(sql: str, dialect: str = "duckdb") -> Iterator[str]:
    """Changed queries in DuckDB's dialect, the likeliest to differ in result first; each differs from `sql` in one
    place. Raises `sqlglot.errors.ParseError` for what is no SQL."""
    tree = sqlglot.parse_one(sql, dialect=dialect)
    seen = {tree.sql(dialect="duckdb")}
    for change in (_compare, _constant, _aggregate, _ascend, _limit, _project, _unfilter, _distinct, _empty):
        for position in range(sum(1 for _ in tree.walk())):
            copy = tree.copy()
            node = next(node for i, node in enumerate(copy.walk()) if i == position)
            changed = change(node)
            if changed is None:
                continue
            if node is copy:
                copy = changed
            elif changed is not node:
                node.replace(changed)
            text = copy.sql(dialect="duckdb")
            if text not in seen:
                seen.add(text)
                yield text


def _compare(node: exp.Expr) -> exp.Expr | None:
    """Another comparison, connective or set operation; not a join's own condition."""
    other = _OTHER_COMPARISON.get(type(node))
    if other is None or isinstance(node.parent, exp.Join):
        return None
    return other(**{name: value for name, value in node.args.items() if value is not None})


def _constant(node: exp.Expr) -> exp.Expr | None:
    """Another constant in a comparison."""
    if not isinstance(node, exp.Literal) or not isinstance(node.parent, (exp.Binary, exp.In, exp.Between)):
        return None
    if node.is_string:
        return exp.Literal.string(node.name[:-1] if len(node.name) > 1 else node.name + "x")
    return exp.Literal.number(str(int(node.name) + 1)) if node.name.isdigit() else None


def _aggregate(node: exp.Expr) -> exp.Expr | None:
    other = _OTHER_AGGREGATE.get(type(node))
    if other is None or isinstance(node.this, exp.Star):
        return None
    argument = node.this.expressions[0] if isinstance(node.this, exp.Distinct) else node.this
    return other(this=argument)


def _ascend(node: exp.Expr) -> exp.Expr | None:
    """The other direction of an order."""
    if not isinstance(node, exp.Ordered):
        return None
    return exp.Ordered(this=node.this, desc=not node.args.get("desc"), nulls_first=node.args.get("nulls_first"))


def _limit(node: exp.Expr) -> exp.Expr | None:
    """One row more."""
    if not isinstance(node, exp.Limit) or not isinstance(node.expression, exp.Literal):
        return None
    return exp.Limit(expression=exp.Literal.number(str(int(node.expression.name) + 1)))


def _project(node: exp.Expr) -> exp.Expr | None:
    """One column fewer, of several."""
    if not isinstance(node, exp.Select) or len(node.expressions) < 2 or node.parent is not None:
        return None
    node.set("expressions", node.expressions[:-1])
    return node


def _unfilter(node: exp.Expr) -> exp.Expr | None:
    """Without WHERE or HAVING."""
    if not isinstance(node, exp.Select):
        return None
    part = next((p for p in ("where", "having") if node.args.get(p)), None)
    if part is None:
        return None
    node.set(part, None)
    return node


def _distinct(node: exp.Expr) -> exp.Expr | None:
    """With DISTINCT where there was none, and the other way round."""
    if not isinstance(node, exp.Select):
        return None
    node.set("distinct", None if node.args.get("distinct") else exp.Distinct())
    return node


def _empty(node: exp.Expr) -> exp.Expr | None:
    """All rows but the first; differs for every result that is not empty."""
    if node.parent is not None or not isinstance(node, exp.Query):
        return None
    return exp.select("*").from_(node.subquery("answer", copy=True)).offset(1)
