"""What a dataset looks like, gathered while it streams by: lengths, where evidence stands, how far apart."""

from collections import Counter
from typing import Any

from compiler.example import Example

BIN = 1024
"""Tokens in one bin of the length histogram."""

_TIERS = {tier: f"tier {tier}" for tier in range(5)}


class Statistics:
    """Memory is bounded by the number of bins."""

    def __init__(self) -> None:
        self.examples: Counter[str] = Counter()
        self.tokens: Counter[str] = Counter()
        self.lengths: Counter[int] = Counter()
        self.labels: Counter[str] = Counter()
        self.context_lengths: Counter[str] = Counter()
        self.needed = [0] * 10
        self.distances: Counter[int] = Counter()
        self.pieces: Counter[str] = Counter()
        self.left_out: Counter[str] = Counter()
        self.neutralised: Counter[str] = Counter()
        self.target_tokens = 0
        self.licences: Counter[str] = Counter()
        self.longest = 0
        self.shortest = 0

    def add(self, example: Example) -> None:
        self.examples[example.config] += 1
        self.tokens[example.config] += example.tokens
        self.lengths[example.tokens // BIN] += 1
        self.context_lengths[example.context_length] += 1
        self.longest = max(self.longest, example.tokens)
        self.shortest = min(self.shortest or example.tokens, example.tokens)
        self.labels.update(f"{audit}: {found}" for audit, found in example.labels.items())
        self.target_tokens += example.target_tokens
        self.left_out.update(example.left_out)
        self._places(example)

    def _places(self, example: Example) -> None:
        total = sum(p.tokens for p in example.pieces)
        at, last = 0, None
        for piece in example.pieces:
            self.pieces[_TIERS[piece.tier]] += 1
            self.licences[piece.licence or "unknown"] += 1
            if piece.neutralised:
                self.neutralised.update(piece.neutralised)
            if piece.role == "needed":
                middle = at + piece.tokens / 2
                self.needed[min(int(10 * middle / total), 9)] += 1
                if last is not None:
                    self.distances[int(middle - last) // BIN] += 1
                last = middle
            at += piece.tokens

    def report(self) -> dict[str, Any]:
        """Histograms as {lower edge: count}; distances are between the middles of neighbouring needed pieces."""
        return {
            "examples": dict(sorted(self.examples.items())),
            "tokens": dict(sorted(self.tokens.items())),
            "target_tokens": self.target_tokens,
            "shortest": self.shortest,
            "longest": self.longest,
            "lengths": {str(k * BIN): n for k, n in sorted(self.lengths.items())},
            "context_lengths": dict(sorted(self.context_lengths.items())),
            "pieces": dict(sorted(self.pieces.items())),
            "needed_position_tenths": self.needed,
            "needed_distances": {str(k * BIN): n for k, n in sorted(self.distances.items())},
            "licences": dict(sorted(self.licences.items())),
            "labels": dict(sorted(self.labels.items())),
            "left_out_pieces": dict(sorted(self.left_out.items())),
            "neutralised_pieces": dict(sorted(self.neutralised.items())),
        }
