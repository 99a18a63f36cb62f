"""The estimate: what it counts, and that more to find, less to see and a longer way make a task harder."""

from dataclasses import replace

import pytest

from envs.swe.difficulty import Difficulty, difficulty_of
from envs.swe.gitdir import File

CALC = b"""def add(a, b):
    return a + b


class Sum:
    def total(self, items):
        out = 0
        for item in items:
            out = add(out, item)
        return out
"""
LOG = """
=================================== FAILURES ===================================
_________________________________ test_total __________________________________

    def test_total():
>       assert Sum().total([1, 2]) == 3

tests/test_calc.py:4: 
_ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _
calc.py:{line}: 
_ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _
deep.py:2: TypeError
=========================== short test summary info ============================
FAILED tests/test_calc.py::test_total - TypeError
"""  # noqa: W291
HEALTHY = {"calc.py": File(CALC), "other.py": File(b"x = 1\ny = 2\n"), "notes.md": File(b"one\ntwo\n")}
BROKEN = {**HEALTHY, "calc.py": File(CALC.replace(b"a + b", b"a - b"))}


def test_it_counts_what_the_gold_patch_changes() -> None:
    two = {
        **BROKEN,
        "calc.py": File(BROKEN["calc.py"].data.replace(b"out = 0", b"out = 1")),
        "other.py": File(b"x = 2\n"),
    }
    one = difficulty_of(BROKEN, HEALTHY, ["t::a"])
    assert (one.files, one.functions, one.lines, one.failing_tests) == (1, 1, 1, 1)
    assert (one.module_lines, one.repository_lines, one.distance, one.measured) == (10, 12, None, {})
    more = difficulty_of(two, HEALTHY, ["t::a"])
    assert (more.files, more.functions, more.lines) == (2, 3, 4)


@pytest.mark.parametrize(
    ("log", "distance"),
    [
        (None, None),
        ("", 1.0),
        (LOG.replace("{line}", "2"), 0.167),  # the changed function, one frame above the end
        (LOG.replace("{line}", "9"), 0.6),  # the changed file
        (LOG.replace("calc.py:{line}", "far.py:1"), 1.0),
    ],
)
def test_the_distance_is_from_the_tracebacks_end_to_the_change(log: str | None, distance: float | None) -> None:
    assert difficulty_of(BROKEN, HEALTHY, ["t::a"], log).distance == distance


def test_the_estimate_is_the_documented_formula() -> None:
    found = difficulty_of(BROKEN, HEALTHY, ["t::a"], "")
    # One of everything: spread 0; few lines: size 0; one failing test: signal 1; nowhere in the log: distance 1.
    assert found.estimate == round(0.35 * 0 + 0.2 * 0 + 0.2 * 1 + 0.25 * 1, 3)
    assert difficulty_of(BROKEN, HEALTHY, ["t::a"]).estimate == round(0.2 / 0.75, 3)


def test_what_is_harder_counts_for_more() -> None:
    def estimate(broken: dict[str, File], healthy: dict[str, File], failing: int, log: str | None = "") -> float:
        return difficulty_of(broken, healthy, [f"t::{n}" for n in range(failing)], log).estimate

    easy = estimate(BROKEN, HEALTHY, 20, LOG.replace("{line}", "2"))
    large = {"big.py": File(b"z = 0\n" * 50_000)}
    wide = {**BROKEN, "other.py": File(b"x = 2\ny = 3\n")}
    assert easy < estimate(BROKEN, HEALTHY, 20)
    assert easy < estimate(BROKEN, HEALTHY, 1, LOG.replace("{line}", "2"))
    assert easy < estimate({**BROKEN, **large}, {**HEALTHY, **large}, 20, LOG.replace("{line}", "2"))
    assert easy < estimate(wide, HEALTHY, 20, LOG.replace("{line}", "2"))


def test_any_change_at_all_has_an_estimate_between_easy_and_hard() -> None:
    odd: dict[str, File] = {"a.py": File(b"def (:"), "b.bin": File(b"\0\xff"), "c.py": File(b"")}
    for broken, healthy in [(odd, {}), ({}, odd), (odd, odd), (HEALTHY, odd)]:
        found = difficulty_of(broken, healthy, ["t::a"], LOG)
        assert isinstance(found, Difficulty)
        assert 0 <= found.estimate <= 1
    assert difficulty_of({p: replace(f) for p, f in odd.items()}, odd, []).files == 0
