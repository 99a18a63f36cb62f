"""What a test run said about each test: parsers for pytest, unittest, SymPy's own runner and a plain exit code.

A parser takes what the run wrote, its exit status and the ids that are asked about, and answers for each test id
that the log names. What is not named did not run.
"""

import re
from collections.abc import Callable, Collection, Mapping
from typing import Literal, TypeVar

Outcome = Literal["passed", "failed", "error", "skipped"]
Word = TypeVar("Word", bound=str)
Parser = Callable[[str, int | None, Collection[str]], dict[str, Outcome]]

SUMMARY = "short test summary info"
EXIT_CODE_ID = "exit code"
PYTEST: dict[str, Outcome] = {
    "PASSED": "passed",
    "FAILED": "failed",
    "ERROR": "error",
    "XFAIL": "passed",
    "XPASS": "passed",
    "SKIPPED": "skipped",
}
UNITTEST: dict[str, Outcome] = {
    "ok": "passed",
    "FAIL": "failed",
    "ERROR": "error",
    "expected failure": "passed",
    "unexpected success": "failed",
}
UNITTEST_LINE = re.compile(r"(.*) \.\.\.(?: (.*))?")
UNITTEST_ID = re.compile(r"^(\S+) \(([^)]+)\)")
SYMPY: dict[str, Outcome] = {"ok": "passed", "F": "failed", "E": "error", "f": "passed", "X": "failed", "s": "skipped"}
SYMPY_LINE = re.compile(r"^(test_\S+) (\w+)(?:\s+\[(?:OK|FAIL)\])?$")
WEIGHT = {"passed": 1, "failed": 2, "error": 2}
"""Which outcome stands for several tests, where a test that was skipped says nothing."""
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def is_pytest(command: str) -> bool:
    return re.search(r"\bpy\.?test\b", command) is not None


def parser_for(command: str) -> Parser:
    """By the test command's words; a command that is neither pytest nor unittest is judged by its exit status."""
    if is_pytest(command):
        return pytest_log
    if re.search(r"\bunittest\b|runtests\.py|\bmanage\.py test\b", command):
        return unittest_log
    if re.search(r"\bbin/test\b", command):
        return sympy_log
    return exit_code


def pytest_log(log: str, _code: int | None, asked: Collection[str]) -> dict[str, Outcome]:
    """The last summary that `-rA` wrote. A failure's line carries the message after the id; an id may itself hold
    the separator, so the ids asked about are tried first."""
    lines = COLOUR.sub("", log).splitlines()
    starts = [i for i, line in enumerate(lines) if SUMMARY in line and line.startswith("=")]
    found: dict[str, Outcome] = {}
    for line in lines[starts[-1] + 1 :] if starts else []:
        word, _, rest = line.partition(" ")
        outcome = PYTEST.get(word)
        if outcome is None or not rest:
            continue
        # Only a test that passed is named without words after it.
        id = rest.strip() if word == "PASSED" else _pytest_id(rest, asked)
        found[id] = _worse(outcome, found.get(id))
    return found | cut_ids(found, asked)


def cut_ids(found: Mapping[str, Word], asked: Collection[str]) -> dict[str, Word]:
    """SWE-bench's lists cut an id at its first space: what is asked so stands for every test whose id begins so, and
    passed if all did that were not skipped: pytest's summary names no skipped test, so those lists know none."""
    cut: dict[str, Word] = {}
    wanted = set(asked) - found.keys()
    for id, outcome in found.items():
        short = id.partition(" ")[0]
        if short in wanted:
            cut[short] = max(cut.get(short, outcome), outcome, key=lambda word: WEIGHT.get(word, 0))
    return cut


def _pytest_id(rest: str, asked: Collection[str]) -> str:
    rest = rest.strip()
    if rest in asked or " - " not in rest:
        return rest
    pieces = rest.split(" - ")
    for n in range(len(pieces) - 1, 0, -1):
        candidate = " - ".join(pieces[:n])
        if candidate in asked:
            return candidate
    return pieces[0]


def _worse(new: Outcome, old: Outcome | None) -> Outcome:
    """A test that passed and whose teardown broke did not pass."""
    return old if old in ("failed", "error") else new


def unittest_log(log: str, _code: int | None, asked: Collection[str]) -> dict[str, Outcome]:
    """Lines of `-v`: `test_name (package.module.Class) ... ok`. The id is `test_name (package.module.Class)`; newer
    Pythons, which repeat the name inside the brackets, give the same id. Both are the same in what is asked, too.

    A test with a docstring has its first line on a second line, before the outcome: the outcome is then told of the id
    and of that line, which SWE-bench's lists name. What a test prints stands between the dots and the outcome.
    """
    found: dict[str, Outcome] = {}
    above, waiting = "", list[str]()
    for line in map(str.strip, COLOUR.sub("", log).splitlines()):
        dotted = UNITTEST_LINE.fullmatch(line)
        id = _unittest_id(dotted[1] if dotted else line)
        if dotted and waiting and not id and not above:
            continue  # printed
        if dotted:
            waiting = [id] if id else [name for name in (above, dotted[1]) if name]
        outcome = _unittest_outcome((dotted[2] or "") if dotted else line)
        if outcome is not None:
            found |= {name: _worse(outcome, found.get(name)) for name in waiting}
            waiting = []
        above = "" if dotted else id
    alike = ((name, found.get(_unittest_id(name))) for name in asked if name not in found)
    return found | {name: outcome for name, outcome in alike if outcome is not None}


def _unittest_id(text: str) -> str:
    match = UNITTEST_ID.match(text)
    return f"{match[1]} ({match[2].removesuffix('.' + match[1])})" if match else ""


def _unittest_outcome(word: str) -> Outcome | None:
    return "skipped" if word.startswith("skipped ") else UNITTEST.get(word)


def sympy_log(log: str, _code: int | None, _asked: Collection[str]) -> dict[str, Outcome]:
    """Lines of `bin/test --verbose`: `test_name ok`. The id is the name alone, as SWE-bench's lists have it."""
    found: dict[str, Outcome] = {}
    for line in COLOUR.sub("", log).splitlines():
        match = SYMPY_LINE.match(line.rstrip())
        if match and (outcome := SYMPY.get(match[2])):
            found[match[1]] = _worse(outcome, found.get(match[1]))
    return found


def exit_code(_log: str, code: int | None, asked: Collection[str]) -> dict[str, Outcome]:
    """Every id asked about passed iff the command ended with 0."""
    return dict.fromkeys(asked or [EXIT_CODE_ID], "passed" if code == 0 else "failed")
