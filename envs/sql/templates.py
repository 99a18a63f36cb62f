"""Moments written by a template: `to_char(d, 'FMMonth YYYY')` of PostgreSQL, Redshift, Oracle and Snowflake.

Sources of the rules: PostgreSQL's manual, "Data Type Formatting Functions"; Oracle's SQL reference, "Datetime Format
Models"; Snowflake's reference, "Date and time input and output formats". sqlglot reads a few patterns as others
(`Day`, `Mon`) and drops Oracle's and Snowflake's templates altogether.
"""

import re

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.time import format_time

WRITING_BY_TEMPLATE = frozenset({"postgres", "redshift", "oracle", "snowflake"})
_PARTS = {
    "YYYY": "%Y", "IYYY": "%G", "YY": "%y", "MM": "%m", "DDD": "%j", "DD": "%d", "IW": "%V", "HH24": "%H",
    "HH12": "%I", "HH": "%I", "MI": "%M", "SS": "%S", "MS": "%g", "US": "%f", "FF3": "%g", "FF6": "%f",
    "AM": "%p", "PM": "%p", "MONTH": "%B", "MMMM": "%B", "MON": "%b", "DAY": "%A", "DY": "%a", "Q": "", "D": "",
}  # fmt: skip
_LONGEST_FIRST = "|".join(sorted(_PARTS, key=len, reverse=True))
_PATTERN = re.compile(
    rf'(?P<fm>FM)?(?P<part>{_LONGEST_FIRST})|"(?P<text>[^"]*)"|(?P<sign>.)', re.IGNORECASE | re.DOTALL
)
_WIDEST = 9
"""Letters of the longest month and day, to which the others are filled up."""


def templates_as_there(tree: exp.Expr, dialect: str) -> exp.Expr:
    """The query, parsed in that dialect, with its `to_char` in DuckDB's words. Raises `ValueError` for a template that
    holds what is not known here, such as the digits of a number."""
    return tree.transform(lambda node: _as_there(node, dialect))


def _as_there(node: exp.Expr, dialect: str) -> exp.Expr:
    template = node.args.get("format") if isinstance(node, (exp.ToChar, exp.TimeToStr)) else None
    if template is None:
        return node
    if not isinstance(template, exp.Literal):
        raise ValueError("to_char() is understood here with a template that is a text")
    text = template.name
    if isinstance(node, exp.TimeToStr):
        reader = Dialect.get_or_raise(dialect)
        text = format_time(text, reader.INVERSE_TIME_MAPPING, reader.INVERSE_TIME_TRIE) or ""
    moment = exp.cast(node.this, "TIMESTAMP")
    pieces = [_piece(moment, match, dialect) for match in _PATTERN.finditer(text)]
    written = pieces[0] if pieces else exp.Literal.string("")
    for piece in pieces[1:]:
        written = exp.DPipe(this=written, expression=piece)
    return exp.Paren(this=written)


def _piece(moment: exp.Expr, match: re.Match[str], dialect: str) -> exp.Expr:
    if match["part"] is None:
        sign = match["sign"]
        if sign is not None and sign.isalnum() and sign != "T":
            raise ValueError(f"to_char() with the template {match.string!r} is not understood here: {sign!r}")
        return exp.Literal.string(match["text"] or sign or "")
    part = match["part"].upper()
    if part == "MMMM" and dialect != "snowflake":
        raise ValueError(f"to_char() with the template {match.string!r} is not understood here: 'MMMM'")
    if part in ("Q", "D"):
        number = exp.func("quarter" if part == "Q" else "dayofweek", moment.copy())
        return exp.cast(number if part == "Q" else exp.Add(this=number, expression=exp.Literal.number(1)), "TEXT")
    bare = _bare(match, dialect)
    code = _PARTS[part]
    if code[1] in "mdHIMSj" and bare:
        code = f"%-{code[1]}"
    written: exp.Expr = exp.TimeToStr(this=moment.copy(), format=exp.Literal.string(code))
    if code[1] in "BbAap" and dialect != "snowflake":
        letters = match["part"]
        written = exp.Upper(this=written) if letters.isupper() else written
        written = exp.Lower(this=written) if letters.islower() else written
        if code[1] in "BA" and not bare:
            written = exp.func("rpad", written, exp.Literal.number(_WIDEST), exp.Literal.string(" "))
    return written


def _bare(match: re.Match[str], dialect: str) -> bool:
    """Without blanks and zeros: FM says so of the part behind it, in Oracle of all behind it."""
    return bool(match["fm"]) or (dialect == "oracle" and match.string[: match.start()].upper().count("FM") % 2 == 1)
