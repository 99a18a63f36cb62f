"""Functions of other dialects that neither DuckDB nor sqlglot's translation knows, in DuckDB's words.

Sources: MySQL's manual, "Built-In Function and Operator Reference"; PostgreSQL's, "JSON Functions and Operators";
Oracle's SQL reference, "TRUNC (date)".
"""

import sqlglot
from sqlglot import exp

_RENAMED = {
    "jsonb_agg": "json_group_array", "json_build_object": "json_object", "jsonb_build_object": "json_object",
    "json_build_array": "json_array", "jsonb_build_array": "json_array", "jsonb_array_length": "json_array_length",
    "mid": "substring",
}  # fmt: skip
_REWRITTEN = {
    "substring_index": "CASE WHEN x3 < 0 THEN array_to_string(string_split(x1, x2)[x3:], x2)"
    " ELSE array_to_string(string_split(x1, x2)[1:x3], x2) END",
    "find_in_set": "coalesce(list_position(string_split(x2, ','), x1), 0)",
    "json_unquote": "json_extract_string(CAST(x1 AS JSON), '$')",
    "unix_timestamp": "CAST(epoch(CAST(x1 AS TIMESTAMP)) AS BIGINT)",
    "time_to_sec": "CAST(epoch(CAST(x1 AS TIME)) AS BIGINT)",
    "regexp_substr": "nullif(regexp_extract(x1, x2), '')",
}
"""With as many arguments as it names."""
_UNITS = {
    "DD": "DAY", "DDD": "DAY", "MM": "MONTH", "MON": "MONTH", "YYYY": "YEAR", "YY": "YEAR", "Q": "QUARTER",
    "IW": "WEEK", "HH": "HOUR", "HH24": "HOUR", "MI": "MINUTE",
}  # fmt: skip
"""Oracle's names of what a moment is cut to."""


def lacking_as_there(tree: exp.Expr) -> exp.Expr:
    """The query, parsed in its dialect, with such calls replaced."""
    return tree.transform(_as_there)


def _as_there(node: exp.Expr) -> exp.Expr:
    if isinstance(node, (exp.DateTrunc, exp.TimestampTrunc)):
        unit = _UNITS.get(node.text("unit").upper())
        if unit is not None:
            node.set("unit", exp.var(unit))
        return node
    if isinstance(node, exp.Anonymous):
        name, arguments = node.name.lower(), node.expressions
    elif isinstance(node, (exp.SubstringIndex, exp.RegexpSubstr)):
        name, arguments = node.sql_name().lower(), [part for part in node.args.values() if isinstance(part, exp.Expr)]
    else:
        return node
    if name in _RENAMED:
        return exp.Anonymous(this=_RENAMED[name], expressions=arguments)
    words = _REWRITTEN.get(name, "")
    if not words or f"x{len(arguments)}" not in words or f"x{len(arguments) + 1}" in words:
        return node
    named = {f"x{number}": argument for number, argument in enumerate(arguments, 1)}
    template = sqlglot.parse_one(words, dialect="duckdb")
    rewritten: exp.Expr = template.transform(
        lambda n: named[n.name].copy() if isinstance(n, exp.Column) and n.name in named else n
    )
    return rewritten
