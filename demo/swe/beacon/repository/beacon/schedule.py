"""When a light is lit."""

from beacon.character import Character

FLASH = 0.5
"""Seconds of light in a flash, and of dark between the flashes of a group."""


def lit(character: Character, second: float) -> bool:
    """Whether the light shows at this second of its schedule, which starts with the first flash."""
    if character.kind == "fixed":
        return True
    period = character.period or 1.0
    phase = second % period
    if character.kind == "isophase":
        return phase < period / 2
    step = 2 * FLASH
    flash = phase < character.group * step and phase % step < FLASH
    return not flash if character.kind == "occulting" else flash


def seconds_of_light(character: Character, step: float = 0.1) -> float:
    """Seconds of light in one period, to the nearest step."""
    period = character.period or 1.0
    return round(sum(step for i in range(round(period / step)) if lit(character, i * step + step / 2)), 6)
