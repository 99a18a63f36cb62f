"""In which order pieces stand in the prompt. Pure, seeded, the same on every machine and Python."""

import hashlib
from collections.abc import Sequence

from compiler.recipe import Placement
from compiler.render import Rendered


def arrange(pieces: Sequence[Rendered], seed: int, trajectory: str, wanted: Placement | None) -> list[Rendered]:
    """Without `wanted` a permutation that is uniform over seeds.

    With it, distractors are permuted and needed pieces put among them: their stretch has a share of the context
    drawn evenly from `wanted.span`, begins at a place drawn evenly from where it fits, and holds the needed pieces
    at even draws in between. A piece goes to the gap between distractors that is nearest to its wanted place.
    """
    mixed = sorted(pieces, key=lambda p: _digest(seed, trajectory, p.known.hash))
    if wanted is None:
        return mixed
    needed = [p for p in mixed if not p.found.tier]
    others = [p for p in mixed if p.found.tier]
    low, high = wanted.span
    total = sum(p.known.tokens for p in pieces)
    room = sum(p.known.tokens for p in others)
    inside = (low + (high - low) * _share(seed, trajectory, "span")) * total - (total - room)
    inside = min(max(inside, 0), room) if len(needed) > 1 else 0
    start = (room - inside) * _share(seed, trajectory, "start")
    inner = [0.0, 1.0, *(_share(seed, trajectory, f"inner {i}") for i in range(len(needed) - 2))]
    waiting = sorted(start + inside * at for at in inner[: len(needed)])

    out: list[Rendered] = []
    passed = 0
    for other in others:
        while waiting and waiting[0] <= passed + other.known.tokens / 2:
            waiting.pop(0)
            out.append(needed.pop())
        out.append(other)
        passed += other.known.tokens
    return out + needed


def _digest(seed: int, trajectory: str, what: str) -> bytes:
    return hashlib.sha256(f"{seed}|{trajectory}|{what}".encode()).digest()


def _share(seed: int, trajectory: str, what: str) -> float:
    """Even over [0, 1)."""
    return int.from_bytes(_digest(seed, trajectory, what)[:7]) / (1 << 56)
