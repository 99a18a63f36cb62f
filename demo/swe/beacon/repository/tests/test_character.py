import pytest
from beacon.character import Character, parse


@pytest.mark.parametrize(
    ("text", "character"),
    [
        ("F R", Character("fixed", 1, ("red",), None)),
        ("Fl(2) W 10s", Character("flashing", 2, ("white",), 10.0)),
        ("Oc WRG 6s", Character("occulting", 1, ("white", "red", "green"), 6.0)),
        ("Fl 7.5s", Character("flashing", 1, ("white",), 7.5)),
    ],
)
def test_abbreviations(text, character):
    assert parse(text) == character


@pytest.mark.parametrize("text", ["", "Blink 3s", "F W 3s", "Fl(x) 2s"])
def test_nonsense_is_refused(text):
    with pytest.raises(ValueError):
        parse(text)
