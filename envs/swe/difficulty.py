"""How hard a task is likely to be, from what is known without a model, and how hard it proved to be.

Each part is a number from 0 (easy) to 1 (hard); `s(x, low, high)` is the logarithmic scale between two sizes, 0 at
`low` and below, 1 at `high` and above:

    spread    mean of s(files, 1, 4), s(functions, 1, 6) and s(lines, 1, 40), of what the gold patch changes
    size      mean of s(lines of the changed files, 50, 2000) and s(lines of the repository's Python, 500, 100000)
    signal    1 - s(failing tests, 1, 30): each failing test is a hint
    distance  how far the nearest failing test's traceback ends from the change:
              0.5 * s(1 + n, 1, 8) where the changed function is in it, n frames above its end;
              0.6 where only the changed file is in it; 1 where neither is. Left out where no log is known.

    estimate = 0.35 spread + 0.2 size + 0.2 signal + 0.25 distance, over the sum of the weights that are known.

The weights are trajc's own and were not fitted; `measured`, the share of rollouts that solved the task by model, is
kept beside the estimate so that anybody can fit better ones.
"""

import ast
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher

from pydantic import Field

from envs.frozen import Frozen
from envs.swe.gitdir import File

SECTION = re.compile(r"^_{3,} .+ _{3,}$", re.MULTILINE)
FRAME = re.compile(r"^([^\s:]+\.py):(\d+): ", re.MULTILINE)
SEEN_IN_FILE, UNSEEN = 0.6, 1.0


class PassRate(Frozen):
    """Of one model's scored rollouts of a task."""

    rollouts: int = Field(ge=1)
    right: int = Field(ge=0)


class Difficulty(Frozen):
    files: int
    functions: int
    """Functions, methods or places outside of any that the gold patch changes."""
    lines: int
    """Changed lines: of each replaced block the larger side."""
    failing_tests: int
    module_lines: int
    """Of the changed files together."""
    repository_lines: int
    """Of all Python files."""
    distance: float | None = None
    """See the formula; None where no log of the failing tests is known."""
    estimate: float
    """0 easy, 1 hard."""
    measured: dict[str, PassRate] = {}
    """By model."""


def difficulty_of(
    broken: Mapping[str, File], healthy: Mapping[str, File], failing: Sequence[str], log: str | None = None
) -> Difficulty:
    """`log` is a run of pytest on the broken files in which the tests of `failing` fail."""
    paths = [p for p in sorted({*broken, *healthy}) if broken.get(p) != healthy.get(p)]
    blocks = {path: list(_blocks(_lines(broken.get(path)), _lines(healthy.get(path)))) for path in paths}
    places = {path: _functions(broken.get(path), blocks[path]) for path in paths}
    files = len(paths)
    functions = sum(map(len, places.values()))
    lines = sum(max(before, after) for found in blocks.values() for _, before, after in found)
    module_lines = sum(len(_lines(broken.get(path))) for path in paths)
    repository_lines = sum(file.data.count(b"\n") for path, file in broken.items() if path.endswith(".py"))
    distance = None if log is None else _distance(log, places)
    parts = [
        (0.35, (_scale(files, 1, 4) + _scale(functions, 1, 6) + _scale(lines, 1, 40)) / 3),
        (0.2, (_scale(module_lines, 50, 2000) + _scale(repository_lines, 500, 100_000)) / 2),
        (0.2, 1 - _scale(len(failing), 1, 30)),
        *([] if distance is None else [(0.25, distance)]),
    ]
    return Difficulty(
        files=files,
        functions=functions,
        lines=lines,
        failing_tests=len(failing),
        module_lines=module_lines,
        repository_lines=repository_lines,
        distance=distance,
        estimate=round(sum(w * part for w, part in parts) / sum(w for w, _ in parts), 3),
    )


def _scale(x: float, low: float, high: float) -> float:
    return min(1.0, max(0.0, math.log(max(x, low) / low) / math.log(high / low)))


def _lines(file: File | None) -> list[bytes]:
    return file.data.splitlines() if file else []


def _blocks(before: list[bytes], after: list[bytes]) -> Iterator[tuple[int, int, int]]:
    """(first line in `before`, lines there, lines in `after`) of every replaced block; lines count from 1."""
    for kind, a, b, c, d in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if kind != "equal":
            yield a + 1, b - a, d - c


def _functions(file: File | None, blocks: Sequence[tuple[int, int, int]]) -> dict[tuple[int, int], str]:
    """(first line, last line) -> name of each innermost function that a block touches; a block outside of every
    function counts as a place of its own, and so does each block of a file that is not Python."""
    found: dict[tuple[int, int], str] = {}
    try:
        tree = ast.parse(file.data) if file else None
    except (SyntaxError, ValueError):
        tree = None
    defined = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)] if tree else []
    for first, count, _ in blocks:
        last = max(first, first + count - 1)
        around = [n for n in defined if n.lineno <= last and first <= (n.end_lineno or n.lineno)]
        if around:
            inner = max(around, key=lambda n: n.lineno)
            found[inner.lineno, inner.end_lineno or inner.lineno] = inner.name
        else:
            found[first, last] = ""
    return found


def _distance(log: str, places: Mapping[str, Mapping[tuple[int, int], str]]) -> float:
    """The nearest of all failing tests: an agent may start from any of them."""
    nearest = UNSEEN
    for section in SECTION.split(log)[1:]:
        frames = [(path, int(line)) for path, line in FRAME.findall(section)]
        for above, (path, line) in enumerate(reversed(frames)):
            if any(first <= line <= last for first, last in places.get(path, ())):
                nearest = min(nearest, 0.5 * _scale(1 + above, 1, 8))
            elif path in places:
                nearest = min(nearest, SEEN_IN_FILE)
    return round(nearest, 3)
