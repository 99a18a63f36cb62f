"""Whether a load may stand on a deck."""

from collections.abc import Iterable

from manifest.reader import Item


def total(items: Iterable[Item]) -> float:
    """Kilograms."""
    return sum(item.kilograms for item in items)


def iron(items: Iterable[Item]) -> float:
    """Kilograms of iron, which disturbs a compass and must be entered."""
    return total(item for item in items if "iron" in item.description.lower())


def may_load(items: list[Item], deck_limit: float, iron_limit: float) -> bool:
    """Whether both limits, in kilograms, are kept; a load at the limit is allowed."""
    return total(items) <= deck_limit and iron(items) <= iron_limit
