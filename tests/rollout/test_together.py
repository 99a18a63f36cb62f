"""One blocking call for all who ask at about the same time."""

import asyncio
import threading
from collections.abc import Sequence

import pytest

from rollout.together import MOST, Together


class Doubling:
    """Doubles numbers; a negative one fails, and a zero fails all. Notes what it was asked in each round."""

    def __init__(self) -> None:
        self.rounds: list[list[int]] = []
        self.go = threading.Event()
        self.go.set()

    def __call__(self, asked: Sequence[int]) -> list[int | Exception]:
        self.rounds.append([*asked])
        assert self.go.wait(60)
        if 0 in asked:
            raise RuntimeError("all")
        return [ValueError(str(n)) if n < 0 else 2 * n for n in asked]

    __name__ = "doubling"


async def test_what_is_asked_in_one_step_is_one_round_and_what_comes_meanwhile_the_next() -> None:
    doubling = Doubling()
    together = Together(doubling)
    doubling.go.clear()
    first = [asyncio.ensure_future(together(n)) for n in (1, 2)]
    await asyncio.sleep(0.02)
    later = [asyncio.ensure_future(together(n)) for n in (3, 4)]
    await asyncio.sleep(0.02)
    doubling.go.set()
    assert await asyncio.gather(*first, *later) == [2, 4, 6, 8]
    assert doubling.rounds == [[1, 2], [3, 4]]
    await together.idle(5)


async def test_a_round_has_a_bound() -> None:
    doubling = Doubling()
    together = Together(doubling)
    await asyncio.gather(*(together(n) for n in range(1, MOST + 11)))
    assert [len(r) for r in doubling.rounds] == [MOST, 10]


async def test_one_that_fails_fails_alone_and_a_round_that_fails_fails_whole() -> None:
    together = Together(Doubling())
    told = await asyncio.gather(*(together(n) for n in (1, -1, 2)), return_exceptions=True)
    assert [repr(t) for t in told] == ["2", "ValueError('-1')", "4"]
    told = await asyncio.gather(*(together(n) for n in (1, 0)), return_exceptions=True)
    assert [repr(t) for t in told] == ["RuntimeError('all')"] * 2
    assert await together(5) == 10


async def test_one_who_is_cancelled_leaves_the_others_theirs() -> None:
    doubling = Doubling()
    together = Together(doubling)
    doubling.go.clear()
    asking = [asyncio.ensure_future(together(n)) for n in (1, 2)]
    await asyncio.sleep(0.02)
    asking[0].cancel()
    doubling.go.set()
    assert await asking[1] == 4
    with pytest.raises(asyncio.CancelledError):
        await asking[0]
