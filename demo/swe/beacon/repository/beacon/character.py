"""Characters of lights: parsing the abbreviation of a chart."""

import re
from dataclasses import dataclass

KINDS = {"F": "fixed", "Fl": "flashing", "Oc": "occulting", "Iso": "isophase", "Q": "quick"}
COLOURS = {"W": "white", "R": "red", "G": "green", "Y": "yellow"}
PATTERN = re.compile(r"(?P<kind>[A-Z][a-z]*)(?:\((?P<group>\d+)\))?\s*(?P<colours>[WRGY]*)\s*(?:(?P<period>\d+(?:\.\d+)?)s)?")


@dataclass(frozen=True)
class Character:
    kind: str
    group: int
    colours: tuple[str, ...]
    period: float | None
    """Seconds; None for a fixed light."""


def parse(text: str) -> Character:
    """Raises ValueError for what no chart would print. A light without a colour letter is white."""
    match = PATTERN.fullmatch(text.strip())
    if match is None or match["kind"] not in KINDS:
        raise ValueError(f"{text!r} is no character of a light")
    colours = tuple(COLOURS[letter] for letter in match["colours"]) or ("white",)
    period = float(match["period"]) if match["period"] else None
    if match["kind"] == "F" and period is not None:
        raise ValueError(f"{text!r}: a fixed light has no period")
    return Character(KINDS[match["kind"]], int(match["group"] or 1), colours, period)
