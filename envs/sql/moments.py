"""SQLite's date functions in DuckDB's words: `julianday`, `date('now', '-1 month', 'start of year')`, `strftime`.

Source of the rules: SQLite's manual, "Date And Time Functions". What is no moment is NULL, as there. A modifier that is
not one of the common ones leaves the call as it is, which then fails in words.
"""

import re

import sqlglot
from sqlglot import exp

_SHIFT = re.compile(r"([+-]?\d+(?:\.\d+)?) (second|minute|hour|day|month|year)s?")
_START = re.compile(r"start of (day|month|year)")
_FORMATS = {"date": "%Y-%m-%d", "time": "%H:%M:%S", "datetime": "%Y-%m-%d %H:%M:%S"}
_COMPARED = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE)
_RECKONED = (exp.Add, exp.Sub, exp.Mul, exp.Div)


def moments_as_there(tree: exp.Expr) -> exp.Expr:
    """The query, parsed as SQLite's, with its date functions as DuckDB has them."""
    for node in reversed(list(tree.walk())):
        changed = _as_there(node)
        if changed is not node:
            node.replace(changed)
    return tree


def moments_compared(sql: str) -> str:
    """DuckDB's query with each moment written as text, where it is compared, as the DATE or TIMESTAMP it is: SQLite
    keeps dates as text, and other sources' dates are compared with them all the same."""
    tree = sqlglot.parse_one(sql, dialect="duckdb")
    for text in list(tree.find_all(exp.TimeToStr)):
        if isinstance(text.parent, (*_COMPARED, exp.Between)) and text.text("format") in _FORMATS.values():
            kind = "DATE" if text.text("format") == _FORMATS["date"] else "TIMESTAMP"
            text.replace(exp.TryCast(this=text.copy(), to=exp.DataType.build(kind)))
    return tree.sql(dialect="duckdb")


def _as_there(node: exp.Expr) -> exp.Expr:
    if isinstance(node, exp.Date) and node.this is not None and not _is_now(node.this):
        return exp.TryCast(this=node.this, to=exp.DataType.build("DATE"))
    name, *arguments = _call(node)
    if name == "total" and len(arguments) == 1:
        return exp.func("coalesce", exp.Sum(this=arguments[0]), exp.Literal.number("0.0"))
    written = arguments.pop(0) if name == "strftime" and arguments else None
    if name not in ("julianday", "unixepoch", "strftime", *_FORMATS):
        return node
    moment = _moment(arguments)
    if moment is None or (written is not None and not written.is_string):
        return node
    told = written.name if written is not None else _FORMATS.get(name, "")
    if name == "julianday":
        return exp.Paren(this=_julian(moment))
    if name == "unixepoch":
        return _seconds(moment)
    found = {"%J": _julian(moment), "%s": _seconds(moment)}.get(told)
    if found is not None:
        return exp.cast(found, "VARCHAR")
    text = exp.TimeToStr(this=moment, format=exp.Literal.string(told.replace("%f", "%S.%g")))
    return exp.TryCast(this=text, to=exp.DataType.build("BIGINT")) if isinstance(node.parent, _RECKONED) else text


def _call(node: exp.Expr) -> tuple[str, *tuple[exp.Expr, ...]]:
    if isinstance(node, exp.Anonymous):
        return (node.name.lower(), *node.expressions)
    if isinstance(node, exp.TimeToStr) and isinstance(node.this, exp.TsOrDsToTimestamp):
        return ("strftime", node.args["format"], node.this.this)
    if isinstance(node, exp.Date):
        return ("date", *([node.this] if node.this else []))
    return ("",)


def _is_now(node: exp.Expr) -> bool:
    return isinstance(node, exp.CurrentTimestamp) or (node.is_string and node.name.lower() == "now")


def _moment(arguments: list[exp.Expr]) -> exp.Expr | None:
    """A TIMESTAMP; None where a modifier is not known."""
    kind = exp.DataType.build("TIMESTAMP")
    if not arguments or _is_now(arguments[0]):
        moment: exp.Expr = exp.Cast(this=exp.CurrentTimestamp(), to=kind)
    else:
        moment = exp.TryCast(this=arguments[0].copy(), to=kind)
    for modifier in arguments[1:]:
        text = modifier.name.lower().strip() if modifier.is_string else "?"
        if shift := _SHIFT.fullmatch(text):
            moment = _shifted(moment, shift[1].lstrip("+"), shift[2])
        elif start := _START.fullmatch(text):
            moment = exp.cast(exp.func("date_trunc", exp.Literal.string(start[1]), moment), "TIMESTAMP")
        elif text not in ("localtime", "utc", "auto"):
            return None
    return moment


def _shifted(moment: exp.Expr, number: str, unit: str) -> exp.Expr:
    """A month after 31 January is the 31st day from 1 February on: what DuckDB would cut runs over."""
    interval = exp.Interval(this=exp.Literal.string(number), unit=exp.var(unit.upper()))
    if unit not in ("month", "year"):
        return exp.Add(this=moment, expression=interval)
    first = exp.cast(exp.func("date_trunc", exp.Literal.string("month"), moment.copy()), "TIMESTAMP")
    since = exp.Paren(this=exp.Sub(this=moment, expression=first.copy()))
    return exp.Add(this=exp.Add(this=first, expression=interval), expression=since)


def _seconds(moment: exp.Expr) -> exp.Expr:
    return exp.cast(exp.Anonymous(this="epoch", expressions=[moment.copy()]), "BIGINT")


def _julian(moment: exp.Expr) -> exp.Expr:
    days = exp.Div(
        this=exp.Anonymous(this="epoch", expressions=[moment.copy()]), expression=exp.Literal.number("86400.0")
    )
    return exp.Add(this=days, expression=exp.Literal.number("2440587.5"))
