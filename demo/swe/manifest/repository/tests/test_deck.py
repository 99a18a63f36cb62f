from manifest.deck import iron, may_load, total
from manifest.reader import Item

LOAD = [Item("1", "Iron stoves", 800.0), Item("2", "wool", 200.0)]


def test_total_and_iron():
    assert (total(LOAD), iron(LOAD)) == (1000.0, 800.0)


def test_a_load_at_the_limit_is_allowed():
    assert may_load(LOAD, 1000.0, 800.0)


def test_iron_over_the_limit_is_refused():
    assert not may_load(LOAD, 5000.0, 799.0)
