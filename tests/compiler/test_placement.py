"""Where needed pieces stand: uniform over seeds, or as near or far as a recipe asks."""

from typing import Any

import pyarrow.parquet as pq
import pytest

from compiler.recipe import Placement, Recipe


def shares(published: Any) -> list[float]:
    """The place of each needed piece's middle in the context, 0 to 1."""
    (row,) = pq.read_table(published.path / "canonical").to_pylist()
    total, at, out = sum(p["tokens"] for p in row["pieces"]), 0, []
    for piece in row["pieces"]:
        if piece["role"] == "needed":
            out.append((at + piece["tokens"] / 2) / total)
        at += piece["tokens"]
    return out


@pytest.fixture
def spread(compiled: Any, world: Any) -> Any:
    listed = [(f"d{n}", f"Page {n}. " + "Salt water. " * 20) for n in range(30)]

    def go(placement: Placement | None, seed: int) -> list[float]:
        published = compiled(world.search(listed=listed), recipe=Recipe(placement=placement, seed=seed))
        return shares(published)

    return go


@pytest.mark.parametrize("placement", [None, Placement()])
def test_needed_pieces_stand_anywhere(spread: Any, placement: Placement | None) -> None:
    places = [place for seed in range(20) for place in spread(placement, seed)]
    assert len(places) == 40
    assert min(places) < 0.15
    assert max(places) > 0.85
    assert 0.35 < sum(places) / len(places) < 0.65


@pytest.mark.parametrize(("span", "low", "high"), [((0.0, 0.1), 0.0, 0.2), ((0.8, 1.0), 0.7, 1.0)])
def test_the_distance_is_as_asked(spread: Any, span: tuple[float, float], low: float, high: float) -> None:
    for seed in range(8):
        first, last = spread(Placement(span=span), seed)
        assert low <= last - first <= high
