"""When to ask again."""

import pytest

from rollout.retry import Backoff, Trouble

BACKOFF = Backoff(attempts=4, busy_attempts=6, timeout_attempts=2, base=1.0, cap=5.0, longest_after=60.0)


def test_delays_double_with_full_jitter_up_to_the_cap() -> None:
    trouble = Trouble("busy", "")
    assert [BACKOFF.delay(trouble, n, 1.0) for n in range(1, 7)] == [1, 2, 4, 5, 5, None]
    assert [BACKOFF.delay(trouble, n, 0.0) for n in range(1, 7)] == [0, 0, 0, 0, 0, None]
    assert BACKOFF.delay(trouble, 3, 0.25) == 1.0


@pytest.mark.parametrize(("kind", "allowed"), [("server", 4), ("connection", 4), ("garbled", 4), ("timeout", 2)])
def test_each_trouble_has_its_bound(kind: str, allowed: int) -> None:
    trouble = Trouble(kind, "")  # type: ignore[arg-type]
    assert [BACKOFF.delay(trouble, n, 0.5) is None for n in range(1, 6)] == [n >= allowed for n in range(1, 6)]


def test_a_servers_own_wish_is_a_floor_but_not_without_bound() -> None:
    assert BACKOFF.delay(Trouble("busy", "", after=7.0), 1, 0.5) == 7.5
    assert BACKOFF.delay(Trouble("busy", "", after=9999.0), 1, 0.0) == 60.0
