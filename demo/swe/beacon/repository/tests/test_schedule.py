from beacon.character import parse
from beacon.schedule import lit, seconds_of_light


def test_a_fixed_light_is_always_lit():
    assert lit(parse("F W"), 12.3)


def test_a_flashing_light_is_dark_for_most_of_its_period():
    assert seconds_of_light(parse("Fl(2) W 10s")) == 1.0


def test_an_occulting_light_is_lit_for_most_of_its_period():
    assert seconds_of_light(parse("Oc W 6s")) == 5.5


def test_an_isophase_light_shares_its_period():
    assert seconds_of_light(parse("Iso W 4s")) == 2.0


def test_the_first_flash_starts_the_schedule():
    assert lit(parse("Fl W 7.5s"), 0.1)
