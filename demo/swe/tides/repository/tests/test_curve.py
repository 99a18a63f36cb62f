import pytest
from tides.curve import Turn, height_at

LOW, HIGH = Turn(0, 1.0), Turn(360, 7.0)


@pytest.mark.parametrize(("minute", "metres"), [(0, 1.0), (60, 1.5), (180, 4.0), (300, 6.5), (360, 7.0)])
def test_rule_of_twelfths(minute, metres):
    assert height_at(LOW, HIGH, minute) == pytest.approx(metres)


def test_a_minute_outside_is_refused():
    with pytest.raises(ValueError, match="not between"):
        height_at(LOW, HIGH, 361)
