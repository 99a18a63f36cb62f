"""Results as the agent reads them: a header line, a line for each row, and what was left out."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from envs.sql.reply import Rows
from envs.tool import cut_middle

MAX_ROWS = 50
MAX_BYTES = 16 * 1024


@dataclass(frozen=True)
class Shown:
    """A result as text, whole and as shown."""

    text: str
    """For the model."""
    whole: str
    """Header and every kept row."""
    ranges: tuple[tuple[int, int], ...]
    """Byte ranges of `whole` that stand in `text`."""
    hidden: int
    """Bytes of `whole` that do not."""
    lost: int
    """Bytes of rows that were counted and not kept, estimated from those kept or else from the first that was not."""

    @property
    def complete(self) -> bool:
        return not self.hidden and not self.lost


def show(found: Rows, max_rows: int = MAX_ROWS, max_bytes: int = MAX_BYTES) -> Shown:
    """At most `max_rows` rows and about `max_bytes` bytes; the count left out is said."""
    lines = [" | ".join(name for name, _ in found.columns), *(_line(row) for row in found.rows)]
    sizes = [len(line.encode()) + 1 for line in lines]
    size = shown_rows = 0
    for index, length in enumerate(sizes):
        if index > max_rows or (size + length > max_bytes and index > 0):
            break
        size += length
        shown_rows = index
    whole = "\n".join(lines) + "\n"
    total = sum(sizes)
    if (shown_rows == 0 and found.rows) or size > max_bytes:
        body, ranges, hidden = cut_middle(whole, max_bytes)
        text = f"{body.rstrip()}\n{_count(found, None)}"
    else:
        ranges, hidden = ((0, size),), total - size
        text = "\n".join([*lines[: shown_rows + 1], _count(found, shown_rows)])
    each = (total - sizes[0]) / len(found.rows) if found.rows else found.unkept
    lost = round(each * found.left)
    return Shown(text=text, whole=whole, ranges=ranges, hidden=hidden, lost=lost)


def _count(found: Rows, shown: int | None) -> str:
    total = f"{'more than ' if found.more else ''}{found.count:,} row{'' if found.count == 1 else 's'}"
    if shown is None:
        return f"({total}; too wide to show whole: select fewer or shorter columns)"
    if not found.rows and found.count:
        return f"({total}; too wide to show: select fewer or shorter columns)"
    if shown == found.count and not found.more:
        return f"({total})"
    left = f"{'more than ' if found.more else ''}{found.count - shown:,}"
    return f"({total}; the first {shown:,} are shown, {left} left out)"


def _line(row: Sequence[Any]) -> str:
    return " | ".join(map(cell_text, row))


def cell_text(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, str):
        return value.replace("\r", "\\r").replace("\n", "\\n")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, dict)):
        return orjson.dumps(value).decode()
    return str(value)


def samples(rows: Iterable[Sequence[Any]], column: int, count: int = 3, width: int = 40) -> str:
    """A few distinct values of one column, for a description."""
    seen: list[str] = []
    for row in rows:
        if row[column] is None:
            continue
        text = cell_text(row[column])
        text = text if len(text) <= width else text[: width - 3] + "..."
        if text not in seen:
            seen.append(text)
        if len(seen) == count:
            break
    return ", ".join(seen) or "NULL"
