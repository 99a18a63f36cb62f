from tides.bar import depth, windows
from tides.curve import Turn

DAY = [Turn(0, 1.0), Turn(360, 7.0), Turn(720, 1.0)]


def test_depth_adds_the_charted_depth():
    assert depth(DAY, 2.0, 360) == 9.0


def test_the_window_ends_at_the_last_minute_with_enough_water():
    assert windows(DAY, 0.0, 3.5, 0.5) == [(180, 540)]


def test_a_bar_that_is_always_deep_is_open_all_day():
    assert windows(DAY, 20.0, 3.5) == [(0, 720)]


def test_a_bar_that_is_never_deep_is_never_open():
    assert windows(DAY, -9.0, 3.5) == []
