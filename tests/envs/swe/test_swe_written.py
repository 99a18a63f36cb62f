"""What a model writes is nothing until it was checked: bugs held against their function, issues against the secret."""

import textwrap
from pathlib import Path

import pytest

from envs.swe.gitdir import File
from envs.swe.make.functions import Place, places
from envs.swe.make.mutate import Mutant
from envs.swe.make.plan import planted
from envs.swe.make.sdist import Package, read_archive
from envs.swe.make.trial import Dropped, Kept
from envs.swe.make.written_bugs import WrittenBugs, read_bug
from envs.swe.make.written_issues import Leaks, WrittenIssues, fault, subjects_of
from tests.envs.swe.tiny import write_archive

SOURCE = b'''import functools


class Shelf:
    @property
    def pages(self):
        """How many
        there are."""
        total = 0
        for book in self.books:
            if book.pages > 0:  # empty ones do not count
                total += book.pages
        return total


def longest(words, default=None):
    best = default
    for word in words:
        if best is None or len(word) > len(best):
            best = word
    return best
'''
PACKAGE = Package("shelf", "1", None, {"shelf.py": File(SOURCE)}, "pytest")
PAGES, LONGEST = places("shelf.py", SOURCE)


def fenced(code: str) -> str:
    return f"Here it is:\n\n```python\n{code}```\nHave fun."


def reasons(place: Place, code: str) -> str:
    found = read_bug(code, place, PACKAGE, "m")
    assert isinstance(found, Dropped), found
    return found.reason.removeprefix("written bug: ")


def test_functions_and_methods_are_shown_without_what_is_around_them() -> None:
    assert [place.name for place in (PAGES, LONGEST)] == ["Shelf.pages", "longest"]
    assert PAGES.text.startswith("@property\ndef pages(self):\n")
    assert textwrap.indent(PAGES.text, PAGES.indent).encode() in SOURCE
    assert list(places("x.py", b"def short(a):\n    return a\n")) == []
    assert list(places("x.py", b"def broken(:\n")) == []


def test_a_written_bug_changes_the_lines_that_mean_something_else_and_no_others() -> None:
    dressed_up = PAGES.text.replace("book.pages > 0:  # empty ones do not count", "book.pages > 1:")
    dressed_up = dressed_up.replace("total = 0", "total  =  0  # the sum").replace("How many\n", "Count them\n")
    found = read_bug(fenced(dressed_up), PAGES, PACKAGE, "m")
    assert isinstance(found, Mutant)
    assert (found.operator, found.function, found.path) == ("written by m", "Shelf.pages", "shelf.py")
    after = planted(PACKAGE.files, (found,))["shelf.py"].data.decode()
    assert after == SOURCE.decode().replace("book.pages > 0:  # empty ones do not count", "book.pages > 1:")


def test_bare_code_is_taken_and_so_is_the_last_function_of_a_file() -> None:
    reply = LONGEST.text.replace(" > len(best)", " >= len(best)")
    found = read_bug(reply, LONGEST, PACKAGE, "m")
    assert isinstance(found, Mutant)
    assert found.apply(SOURCE) == SOURCE.replace(b" > len(best)", b" >= len(best)")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("", "no code in the reply"),
        ("I am sorry, but I cannot do that.", "no code in the reply"),
        (fenced("def longest(words, default=None:\n"), "it does not parse"),
        (fenced("def longest(words, default=None):\n\x00\n"), "it does not parse"),
        (fenced("def longest(words, default=None):\n    return " + "-" * 100_000 + "1\n"), "it does not parse"),
        (fenced(LONGEST.text + "    pass\n" * 300), "it rewrites the function"),
        (fenced(LONGEST.text), "it changes nothing"),
        (fenced(LONGEST.text.replace("best = default", "best = default  # the start")), "it changes nothing"),
        (fenced(LONGEST.text.replace("longest", "shortest")), "it is not the one function asked for"),
        (fenced(LONGEST.text.replace("words,", "words, extra,")), "it is not the one function asked for"),
        (fenced("import os\n\n" + LONGEST.text.replace(">", "<")), "it is not the one function asked for"),
        (fenced("async " + LONGEST.text.replace(">", "<")), "it is not the one function asked for"),
        (fenced("@functools.cache\n" + LONGEST.text.replace(">", "<")), "it is not the one function asked for"),
        (fenced(LONGEST.text.replace("len(best):", "len(best) + 1:  # BUG")), "it brings comments of its own"),
        (fenced("def longest(words, default=None):\n    return max(words, key=len)\n"), "it rewrites the function"),
        (fenced(LONGEST.text.replace("len(best):", "size(best):")), "it uses names that nothing binds"),
    ],
)
def test_what_is_no_bug_in_the_function_is_dropped_with_a_reason(code: str, reason: str) -> None:
    assert reasons(LONGEST, code) == reason


class Script:
    """A writer that plays replies in turn."""

    name = "script"

    def __init__(self, *replies: str | None) -> None:
        self.replies = list(replies)
        self.asked: list[tuple[str, int]] = []

    async def write(self, prompt: str, take: int) -> str | None:
        self.asked.append((prompt, take))
        return self.replies.pop(0)


def test_a_docstring_is_no_code_that_may_stay_while_all_else_goes() -> None:
    reply = PAGES.text[: PAGES.text.index("    total = 0")] + "    return sum(self.books)\n"
    assert reasons(PAGES, fenced(reply)) == "it rewrites the function"


async def test_every_function_is_asked_about_before_any_is_again() -> None:
    script = Script(*[None] * 5)
    proposals = WrittenBugs(script).proposals(PACKAGE, seed=1, bugs=1, most=5)
    assert [await proposal() for proposal in proposals] == [Dropped("written bug: no code in the reply")] * 5
    shown = [("def longest" in prompt, take) for prompt, take in script.asked]
    assert [take for _, take in shown] == [0, 0, 1, 1, 2]
    assert {first for first, _ in shown[:2]} == {True, False}


async def test_one_bad_bug_of_several_drops_them_all() -> None:
    good = {True: LONGEST.text.replace(">", "<"), False: PAGES.text.replace(">", "<")}
    (proposal,) = WrittenBugs(Script("def", "nothing")).proposals(PACKAGE, seed=1, bugs=2, most=1)
    assert isinstance(await proposal(), Dropped)
    probe = Script(None, None)
    await WrittenBugs(probe).proposals(PACKAGE, seed=1, bugs=2, most=1)[0]()
    first = "def longest" in probe.asked[0][0]
    (proposal,) = WrittenBugs(Script(good[first], good[not first])).proposals(PACKAGE, seed=1, bugs=2, most=1)
    bug = await proposal()
    assert isinstance(bug, tuple)
    assert planted(PACKAGE.files, bug)["shelf.py"].data == SOURCE.replace(b">", b"<")


@pytest.fixture
def kept(tmp_path: Path) -> tuple[Package, Kept]:
    package = read_archive(write_archive(tmp_path))
    path = "src/tiny/__init__.py"
    broken = package.files[path].data.replace(b"return max(values) - min(values)", b"return max(values) + min(values)")
    failing = ("tests/test_tiny.py::test_spread",)
    return package, Kept((), {**package.files, path: File(broken)}, failing, "")


GOOD = """Spread of a list is too large

I called `spread` on a list with a smallest value of 2 and a largest of 9. I expected 7 and got 11. It is right only \
when the smallest value is zero."""
LEAKS = [
    ("", "no text in the reply"),
    ("I will prepare the following answer with the given information:", "it is no title with a text below"),
    ("One long line. " * 20, "it is no title with a text below"),
    ("Spread\n\nIt is broken.", "it is too short"),
    ("Spread\n\n" + "very long " * 1000, "it is too long"),
    ("Bananas are bent\n\n" + "They should be straight and they are not. " * 3, "it speaks of nothing in the package"),
    (GOOD + "\n\n    return max( values ) - min( values )", "it quotes the patch"),
    (GOOD + "\n\n    return max(values) + min(values)", "it quotes the patch"),
    (GOOD + "\n```diff\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n```", "it quotes the patch"),
    (GOOD + "\nLook into src/tiny/__init__.py.", "it names the file with the bug"),
    (GOOD + "\nLook into tiny/__init__.py.", "it names the file with the bug"),
    (GOOD + "\nSee `test_spread`.", "it names a hidden test"),
    (GOOD + "\nSee tests/test_tiny.py.", "it names a hidden test"),
    (GOOD + "\nassert tiny.spread([3, 1, 7]) == 6", "it quotes a hidden test"),
    (GOOD, ""),
    (GOOD + "\nThe same for test_spreadsheets of mine.", ""),
]


@pytest.mark.parametrize(("text", "reason"), LEAKS)
def test_an_issue_that_gives_something_away_is_none(kept: tuple[Package, Kept], text: str, reason: str) -> None:
    package, one = kept
    assert fault(text.strip(), Leaks(package.files, one.files, one.broken), subjects_of(package)) == reason


async def test_an_unfit_issue_is_asked_for_once_more_and_then_dropped(kept: tuple[Package, Kept]) -> None:
    package, one = kept
    script = Script("See test_spread. " + GOOD, GOOD)
    text = await WrittenIssues(script).issue(package, one)
    assert isinstance(text, str)
    assert text.startswith(GOOD)
    prompt, _ = script.asked[0]
    assert [take for _, take in script.asked] == [0, 1]
    assert "-    return max(values) - min(values)\n+    return max(values) + min(values)" in prompt
    assert "assert tiny.spread([3, 1, 7]) == 6" in prompt
    found = await WrittenIssues(Script(None, "See test_spread. " + GOOD)).issue(package, one)
    assert found == Dropped("written issue: it names a hidden test")
