"""What each operator does to a piece of code, and that every other byte stays."""

import ast
from difflib import ndiff

import pytest

from envs.swe.make.mutate import OPERATORS, mutants

SOURCE = b'''"""Docstring with 1 == 2 in it."""
from typing import TYPE_CHECKING
__version__ = "1.0"
if TYPE_CHECKING:
    import x


def find(items, wanted, start=0, *, loud=True, sep="-"):
    """Doc < string."""
    out = []
    for n in range(len(items)):
        if items[n] == wanted and n >= start:  # a comment < here
            out.append(n)
        elif n % 2 == 0:
            continue
    try:
        total = start + 1 * n
    except (IndexError, OSError):
        total -= 2
    except LookupError:
        raise
    if not out:
        raise ValueError("nothing \xc3\xa9")
    return max(out, total), out[1:total]


class Box:
    def __init__(self, a, b):
        self.low = 1
        self.high = 2
        self.pair = pick(a, b, key=a)
        self.open = True

    def both(self):
        return (self.a, self.b)

    def span(self):
        return self.high - self.low

    async def load(self, path):
        text = await read(path.strip())
        rows = sorted(text)
        rows.pop()
        first = rows[0] if rows else 3 * (1 + 2)
        if first:
            kept = rows[first:]
        else:  # nothing
            kept = None
        return self.done(first or kept and rows)
'''

CASES = [
    ("inverted comparison", "if items[n] != wanted and n >= start:  # a comment < here"),
    ("inverted comparison", "if items[n] == wanted and n > start:  # a comment < here"),
    ("and/or", "if items[n] == wanted or n >= start:  # a comment < here"),
    ("dropped condition", "if n >= start:  # a comment < here"),
    ("dropped condition", "if items[n] == wanted:  # a comment < here"),
    ("negated condition", "if not (items[n] == wanted and n >= start):  # a comment < here"),
    ("negated condition", "if out:"),
    ("off by one", "for n in range(len(items) - 1):"),
    ("off by one", "return max(out, total), out[1:total + 1]"),
    ("slice bounds", "return max(out, total), out[:total]"),
    ("slice bounds", "return max(out, total), out[1:]"),
    ("slice bounds", "first = rows[-1] if rows else 3 * (1 + 2)"),
    ("wrong constant", "return max(out, total), out[2:total]"),
    ("wrong constant", "self.open = False"),
    ("default argument", 'def find(items, wanted, start=1, *, loud=True, sep="-"):'),
    ("default argument", 'def find(items, wanted, start=0, *, loud=False, sep="-"):'),
    ("default argument", 'def find(items, wanted, start=0, *, loud=True, sep=""):'),
    ("wrong operator", "total = start - 1 * n"),
    ("wrong operator", "total += 2"),
    ("lost accumulation", "total = 2"),
    ("wrong precedence", "total = (start + 1) * n"),
    ("wrong precedence", "first = rows[0] if rows else 3 * 1 + 2"),
    ("wrong precedence", "return self.done((first or kept) and rows)"),
    ("swapped branches", "first = 3 * (1 + 2) if rows else rows[0]"),
    ("wrong function", "return min(out, total), out[1:total]"),
    ("swapped arguments", "self.pair = pick(b, a, key=a)"),
    ("dropped argument", "self.pair = pick(a, b)"),
    ("removed call", "text = await read(path)"),
    ("removed call", "rows = text"),
    ("missing await", "text = read(path.strip())"),
    ("wrong return", "return (self.b, self.a)"),
    ("wrong return", "self.done(first or kept and rows)"),
    ("wrong handler", "except KeyError:"),
    ("wrong handler", "except IndexError:"),
    ("wrong handler", "pass"),
    ("wrong exception", 'raise TypeError("nothing \xe9")'),
    ("wrong loop exit", "break"),
    ("wrong variable", "if items[n] == items and n >= start:  # a comment < here"),
    ("wrong attribute", "return self.low - self.low"),
]


def changed(mutant_data: bytes) -> tuple[list[str], list[str]]:
    """(lines gone, lines new), without their indentation."""
    before, after = SOURCE.decode().splitlines(), mutant_data.decode().splitlines()
    lines = list(ndiff(before, after))
    return [x[2:].strip() for x in lines if x[0] == "-"], [x[2:].strip() for x in lines if x[0] == "+"]


def test_every_operator_finds_something_and_changes_little() -> None:
    found = mutants("m.py", SOURCE)
    assert {m.operator for m in found} == set(OPERATORS)
    assert len({m.change for m in found}) == len(found)
    for mutant in found:
        after = mutant.apply(SOURCE)
        assert ast.dump(ast.parse(after)) != ast.dump(ast.parse(SOURCE)), mutant
        gone, new = changed(after)
        assert max(len(gone), len(new)) <= 2, (mutant, gone, new)


@pytest.mark.parametrize(("operator", "line"), CASES)
def test_the_changes_are_the_ones_that_are_meant(operator: str, line: str) -> None:
    assert any(
        line in changed(mutant.apply(SOURCE))[1] for mutant in mutants("m.py", SOURCE) if mutant.operator == operator
    )


@pytest.mark.parametrize(
    ("operator", "gone"),
    [
        ("dropped statement", ["total -= 2"]),
        ("dropped guard", ["if not out:", 'raise ValueError("nothing \xe9")']),
        ("dropped else", ["else:  # nothing", "kept = None"]),
        ("wrong order", ["rows.pop()"]),
    ],
)
def test_whole_lines_go(operator: str, gone: list[str]) -> None:
    assert any(changed(m.apply(SOURCE))[0] == gone for m in mutants("m.py", SOURCE) if m.operator == operator)


def test_what_does_not_run_stays_and_so_does_what_says_the_same() -> None:
    found = mutants("m.py", SOURCE)
    lines = "\n".join(line for m in found for line in changed(m.apply(SOURCE))[1])
    assert "1 != 2" not in lines, "docstrings stay"
    assert "__version__ = " not in lines
    alike = b"def f(a, b):\n    return (a * b) * 2 + (b)\n"
    assert not [m for m in mutants("m.py", alike) if m.apply(alike).count(b"(") < 3], "brackets that do nothing"


def test_a_bug_names_the_function_that_it_stands_in() -> None:
    assert {m.function for m in mutants("m.py", SOURCE)} == {"find", "Box.__init__", "Box.both", "Box.span", "Box.load"}


def test_a_file_that_does_not_parse_has_no_bugs_to_give() -> None:
    assert mutants("m.py", b"def (:") == []
    assert mutants("m.py", b"\0") == []
