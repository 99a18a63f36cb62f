"""When a ship may cross a bar."""

from tides.curve import Turn, height_at


def depth(turns: list[Turn], charted: float, minute: int) -> float:
    """Metres of water over a bar whose charted depth is `charted` (negative where it dries)."""
    for first, second in zip(turns, turns[1:]):
        if first.minute <= minute <= second.minute:
            return charted + height_at(first, second, minute)
    raise ValueError(f"no pair of turns covers minute {minute}")


def windows(turns: list[Turn], charted: float, draught: float, clearance: float = 0.5) -> list[tuple[int, int]]:
    """The spans of minutes, both ends included, with at least `draught + clearance` metres over the bar."""
    needed = draught + clearance
    found: list[tuple[int, int]] = []
    start = None
    last = turns[-1].minute
    for minute in range(turns[0].minute, last + 1):
        enough = depth(turns, charted, minute) >= needed
        if enough and start is None:
            start = minute
        if not enough and start is not None:
            found.append((start, minute - 1))
            start = None
    if start is not None:
        found.append((start, last))
    return found
