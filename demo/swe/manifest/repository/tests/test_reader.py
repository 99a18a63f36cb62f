import pytest
from manifest.reader import Item, ManifestError, read, read_line


def test_a_plain_line():
    assert read_line("A1; iron stoves ; 2; t", 1) == Item("A1", "iron stoves", 2000.0)


def test_a_decimal_comma():
    assert read_line("B2;wool;12,5;kg", 1) == Item("B2", "wool", 12.5)


def test_spaces_between_thousands():
    assert read_line("B3;salt;1 250,5;kg", 1) == Item("B3", "salt", 1250.5)


def test_comments_and_blank_lines():
    assert read("# load of the Una\n\nC;crabs;10;kg\n") == [Item("C", "crabs", 10.0)]


@pytest.mark.parametrize(("line", "words"), [("a;b;c", "3 fields"), ("a;b;1;stone", "unknown unit"), ("a;b;x;kg", "no weight")])
def test_a_bad_line_is_named(line, words):
    with pytest.raises(ManifestError, match=f"line 7: .*{words}"):
        read_line(line, 7)
