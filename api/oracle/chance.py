"""Chance without state: a draw is a hash of the seed and of what it is drawn for."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Chance:
    """Equal scopes draw equal numbers in every process."""

    scope: tuple[str, ...]

    def draw(self, *parts: object) -> float:
        """Evenly in [0, 1)."""
        text = "\x1f".join((*self.scope, *map(str, parts)))
        digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return int.from_bytes(digest, "big") / 2**64

    def happens(self, share: float, *parts: object) -> bool:
        return share > 0 and self.draw(*parts) < share

    def pick(self, choices: Sequence[T], *parts: object) -> T:
        """Raises `IndexError` where there is no choice."""
        return choices[int(self.draw(*parts) * len(choices))]
