"""Days and weeks counted from where a dialect counts them.

DuckDB's `dayofweek` and `weekday` give 0 to 6 from Sunday on. MySQL's and Spark's `DAYOFWEEK`, BigQuery's
`EXTRACT(DAYOFWEEK ...)` and T-SQL's `DATEPART(weekday, ...)` give 1 to 7 from Sunday on, MySQL's and Spark's `WEEKDAY`
0 to 6 from Monday on; MySQL's `WEEK` begins weeks on Sunday, DuckDB's on Monday. Sources: the dialects' manuals.
"""

import re

from sqlglot import exp

_SPARK = ("spark", "databricks", "hive")
_SUNDAY_IS_ONE = frozenset({"mysql", *_SPARK, "bigquery", "tsql"})
_SAME_WORDS = {
    "mysql": re.compile(r"\b(dayofweek|weekday|week)\s*\(", re.IGNORECASE),
    **{name: re.compile(r"\b(dayofweek|weekday)\s*\(", re.IGNORECASE) for name in _SPARK},
    "bigquery": re.compile(r"\bdayofweek\s+from\b", re.IGNORECASE),
}


def counts_days(sql: str, dialect: str) -> bool:
    """Whether it asks in words that DuckDB understands otherwise."""
    return dialect in _SAME_WORDS and _SAME_WORDS[dialect].search(sql) is not None


def weekdays_as_there(tree: exp.Expr, dialect: str) -> exp.Expr:
    """The query, parsed in that dialect, with days and weeks counted as there."""
    return tree.transform(lambda node: _as_there(node, dialect)) if dialect in _SUNDAY_IS_ONE else tree


def _as_there(node: exp.Expr, dialect: str) -> exp.Expr:
    if dialect in ("bigquery", "tsql"):
        extracted = isinstance(node, exp.Extract) and node.name.upper() == "DAYOFWEEK"
        return _plus(_part("dow", node.expression), 1) if extracted else node
    if isinstance(node, exp.DayOfWeek):
        return _plus(_part("dow", node.this), 1)
    if isinstance(node, exp.Anonymous) and node.name.lower() == "weekday" and len(node.expressions) == 1:
        return _plus(_part("isodow", node.expressions[0]), -1)
    if dialect == "mysql" and isinstance(node, exp.Week) and not node.args.get("mode"):
        since_sunday = exp.TimeToStr(this=exp.cast(node.this, "TIMESTAMP"), format=exp.Literal.string("%U"))
        return exp.cast(since_sunday, "BIGINT")
    return node


def _part(name: str, moment: exp.Expr) -> exp.Expr:
    return exp.Anonymous(this="date_part", expressions=[exp.Literal.string(name), exp.cast(moment.copy(), "DATE")])


def _plus(number: exp.Expr, step: int) -> exp.Expr:
    return exp.Paren(this=exp.Add(this=number, expression=exp.Literal.number(step)))
