"""Database values as JSON values, and tables as text. Exact: what JSON's numbers cannot hold becomes a string."""

import datetime
import math
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any

import orjson

from envs.sql.manifest import Column

MAX_INT = 2**63 - 1
LOSSY = frozenset({"INTERVAL", "TIMESTAMP_NS", "TIME_NS"})
"""Types whose values are more than Python's are (a month is not 30 days): taken as DuckDB prints them."""


def plain(value: Any) -> Any:
    """One value as JSON: decimals as strings of digits, dates and times in ISO form, bytes in hex, other things as
    DuckDB would print them."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return value if -MAX_INT <= value <= MAX_INT else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime.datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).hex()
    if isinstance(value, dict):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return str(value)


def number(value: Any) -> Any:
    """As `plain`, but a decimal whose digits a JSON number holds exactly becomes that number."""
    if isinstance(value, Decimal) and value.is_finite():
        if value == value.to_integral_value() and abs(value) <= 2**53:
            return int(value)
        if Decimal(repr(float(value))) == value:
            return float(value)
    return plain(value)


_AS_THEY_ARE = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "VARCHAR", "BOOLEAN"}


def converter(types: Sequence[str], one: Callable[[Any], Any] = plain) -> Callable[[Iterable[Any]], list[Any]]:
    """A function from a fetched row to a row of JSON values; the columns that are JSON already cost nothing."""
    odd = [index for index, name in enumerate(types) if name not in _AS_THEY_ARE]

    def convert(row: Iterable[Any]) -> list[Any]:
        values = list(row)
        for index in odd:
            values[index] = one(values[index])
        return values

    return convert


def printed(types: Sequence[str], query: str) -> str | None:
    """The query with its columns of the `LOSSY` types, or of lists and structs of them, as text, other column names;
    None where there are none."""
    lossy = {name for name in types if name in LOSSY or (name[-1] in "])" and any(kind in name for kind in LOSSY))}
    if not lossy:
        return None
    columns = (f"CAST(#{n} AS VARCHAR)" if name in lossy else f"#{n}" for n, name in enumerate(types, 1))
    return f"SELECT {', '.join(columns)} FROM (\n{query}\n)"


def table_head(columns: Iterable[Column]) -> bytes:
    """The first line of a table's text."""
    return orjson.dumps({"columns": [{"name": c.name, "type": c.type} for c in columns]}) + b"\n"


def table_lines(rows: Iterable[Sequence[Any]]) -> bytes:
    """Rows of JSON values as lines of a table's text."""
    return b"".join(orjson.dumps(row) + b"\n" for row in rows)
