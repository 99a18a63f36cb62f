"""Manifests as text: one item a line, `mark;description;weight;unit`."""

from dataclasses import dataclass

UNITS = {"kg": 1.0, "t": 1000.0, "lb": 0.45359237}


@dataclass(frozen=True)
class Item:
    mark: str
    description: str
    kilograms: float


class ManifestError(ValueError):
    """A line that cannot be read; the message names it."""


def read_line(line: str, number: int) -> Item:
    """One item. Numbers may have spaces or a decimal comma: `1 250,5` is 1250.5."""
    fields = [field.strip() for field in line.split(";")]
    if len(fields) != 4:
        raise ManifestError(f"line {number}: {len(fields)} fields instead of 4")
    mark, description, weight, unit = fields
    if unit.lower() not in UNITS:
        raise ManifestError(f"line {number}: unknown unit {unit!r}")
    try:
        amount = float(weight.replace(" ", "").replace(",", "."))
    except ValueError:
        raise ManifestError(f"line {number}: {weight!r} is no weight") from None
    return Item(mark, description, amount * UNITS[unit.lower()])


def read(text: str) -> list[Item]:
    """Every item; blank lines and lines that start with # are passed over."""
    return [
        read_line(line, number)
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip() and not line.startswith("#")
    ]
