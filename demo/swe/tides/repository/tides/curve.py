"""The height of the tide between two turns, by the rule of twelfths."""

from dataclasses import dataclass

TWELFTHS = (1, 2, 3, 3, 2, 1)


@dataclass(frozen=True)
class Turn:
    """High or low water: minutes since midnight and metres above chart datum."""

    minute: int
    height: float


def height_at(first: Turn, second: Turn, minute: int) -> float:
    """Metres above chart datum at a minute between the two turns, both included."""
    if not first.minute <= minute <= second.minute:
        raise ValueError(f"minute {minute} is not between the turns {first.minute} and {second.minute}")
    length = (second.minute - first.minute) / len(TWELFTHS)
    whole, rest = divmod(minute - first.minute, length)
    done = sum(TWELFTHS[: int(whole)])
    if whole < len(TWELFTHS):
        done += TWELFTHS[int(whole)] * rest / length
    return first.height + (second.height - first.height) * done / 12
