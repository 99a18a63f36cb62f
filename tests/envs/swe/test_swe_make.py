"""Bugs planted in packages: the archives, the plan, the issue texts, and whole tasks."""

import asyncio
import tarfile
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from envs.blobs import MemoryBlobs
from envs.environment import Site
from envs.errors import TaskError
from envs.score import Submission
from envs.swe.environment import SweEnvironment
from envs.swe.gitdir import File
from envs.swe.make.issue import issue_text
from envs.swe.make.mutate import Mutant
from envs.swe.make.package import Proposal, make_tasks
from envs.swe.make.plan import Bug, plan, planted
from envs.swe.make.sdist import Package, read_archive
from envs.swe.make.source import Change
from envs.swe.make.trial import Kept, Trial, in_order
from envs.swe.scoring import Checked
from envs.swe.world import SweReference
from tests.envs.swe.tiny import ARCHIVE, write_archive


def lines_changed(before: bytes, after: bytes) -> int:
    a, b = before.split(b"\n"), after.split(b"\n")
    head = next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    tail = next((n for n, (x, y) in enumerate(zip(a[::-1], b[::-1], strict=False)) if x != y), min(len(a), len(b)))
    return max(len(a) - head - tail, len(b) - head - tail)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return write_archive(tmp_path)


def test_an_archive_is_read_with_care(archive: Path, tmp_path: Path) -> None:
    package = read_archive(archive)
    assert (package.name, package.version, package.licence) == ("tiny", "1.2", "MIT")
    assert package.sources == ("src/tiny/__init__.py",)
    assert package.tests == ("tests/test_needs_what_is_not_there.py", "tests/test_tiny.py")
    assert package.command.startswith("PYTHONPATH=src:. ")
    assert sorted(package.files) == sorted(
        [*(n for n in ARCHIVE if n != "../outside.py"), "src/tiny-1.2.dist-info/METADATA"]
    )
    broken = tmp_path / "broken.tar.gz"
    broken.write_bytes(b"no archive")
    with pytest.raises(TaskError, match=r"broken\.tar\.gz cannot be read"):
        read_archive(broken)
    bare = tmp_path / "bare-1.tar.gz"
    with tarfile.open(bare, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("bare-1/x.py"))
    with pytest.raises(TaskError, match="ships no tests"):
        read_archive(bare)


def test_the_plan_is_the_seeds_and_tries_every_operator_and_function_early(archive: Path) -> None:
    package = read_archive(archive)
    order = plan(package, seed=1)
    assert order == plan(package, seed=1)
    assert order != plan(package, seed=2)
    operators = {bug[0].operator for bug in order}
    assert {bug[0].operator for bug in order[: len(operators)]} == operators
    assert {bug[0].function for bug in order[:5]} == {"clamp", "spread", "first_words"}
    assert plan(package, seed=1, most=4) == order[:4]
    pairs = plan(package, seed=1, bugs=2)
    assert all(len({m.function for m in pair}) == 2 for pair in pairs)
    both = planted(package.files, pairs[0])["src/tiny/__init__.py"].data
    assert lines_changed(package.files["src/tiny/__init__.py"].data, both) > 1


LOG = """
=================================== FAILURES ===================================
_____________________________ test_clamp[1-2] ______________________________

value = 1, expected = 2

>       assert tiny.clamp(value, 2, 5) == expected
E       assert 1 == 2
E        +  where 1 = <function clamp at 0x7f24a0fb05e0>(1, 2, 5)
E         File "/testbed/src/tiny/__init__.py", line 3, in clamp

tests/test_tiny.py:9: AssertionError
=========================== short test summary info ============================
FAILED tests/test_tiny.py::test_clamp[1-2] - assert 1 == 2
"""


def test_an_issue_tells_what_fails_and_not_where_the_cause_is() -> None:
    text = issue_text("tiny", ["tests/test_tiny.py::test_clamp[1-2]"], LOG, "python3 -m pytest")
    assert "1 check that used to pass now fails" in text
    assert "`test_clamp[1-2]`" in text
    assert "assert 1 == 2" in text
    assert "__init__.py" not in text
    assert "line 3" not in text
    assert "0x7f24a0fb05e0" not in text


@pytest.mark.needs("docker")
async def test_tasks_made_from_an_archive_are_solved_by_their_gold_patch_alone(
    archive: Path,
    tmp_path: Path,
    base_image: str,  # noqa: ARG001
) -> None:
    blobs = MemoryBlobs()
    world = SweEnvironment(Site(tmp_path, blobs))
    made = await make_tasks(str(archive), world.sandboxes, blobs, count=2, seed=3)
    again = await make_tasks(str(archive), world.sandboxes, blobs, count=2, seed=3, parallel=3)
    assert made.tasks == again.tasks
    assert made.healthy_tests == 9, "one never passed, one module cannot be imported"
    assert made.tried == len(made.tasks) + sum(made.dropped.values())
    assert len(made.tasks) == 2
    for task, reference in made.tasks:
        assert world.pin(task, reference)[1] == reference
        answer = SweReference.model_validate(reference.data)
        assert set(answer.hidden_tests) == {"tests/test_tiny.py", "tests/test_needs_what_is_not_there.py"}
        assert len(answer.fail_to_pass) + len(answer.pass_to_pass) == 9
        assert (await world.score(task, reference, Submission(kind="patch", text=answer.gold_patch))).right
        near = answer.gold_patch.replace("src/tiny/__init__.py", "src/tiny/other.py")
        assert not (await world.score(task, reference, Submission(kind="patch", text=near))).right
        assert not (await world.score(task, reference, Submission(kind="patch", text=""))).right
    await world.close()


class Endless:
    """Source of one bug: a loop that never ends."""

    def proposals(self, package: Package, *_: int) -> list[Proposal]:
        async def loop() -> Bug:
            return (
                mutant(
                    package,
                    b"    if value > high:\n        return high",
                    "    while value > high:\n        pass",
                    "clamp",
                ),
            )

        return [loop]


@pytest.mark.needs("docker")
@pytest.mark.timeout(200)
async def test_a_bug_that_never_ends_does_not_hold_its_sandbox_for_minutes(
    archive: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    base_image: str,  # noqa: ARG001
) -> None:
    monkeypatch.setattr("envs.swe.make.package.SLACK_SECONDS", 0.0)
    monkeypatch.setattr("envs.swe.make.package.SLOWER", 2.0)
    world = SweEnvironment(Site(tmp_path, MemoryBlobs()))
    made = await make_tasks(str(archive), world.sandboxes, MemoryBlobs(), count=1, bug_source=Endless())
    assert (made.tasks, made.dropped) == ((), {"the tests do not end": 1})
    await world.close()


@pytest.mark.needs("docker", "network")
async def test_a_package_of_the_registry_gives_tasks(tmp_path: Path, base_image: str) -> None:  # noqa: ARG001
    blobs = MemoryBlobs()
    world = SweEnvironment(Site(tmp_path, blobs))
    made = await make_tasks("iniconfig", world.sandboxes, blobs, count=1)
    assert made.package == "iniconfig"
    (task, reference) = made.tasks[0]
    gold = SweReference.model_validate(reference.data).gold_patch
    assert (await world.score(task, reference, Submission(kind="patch", text=gold))).right
    await world.close()


async def test_a_package_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="is no package name"):
        await make_tasks("no such; package", None, MemoryBlobs())  # type: ignore[arg-type]
    with pytest.raises(TaskError, match=r"missing\.tar\.gz cannot be read"):
        await make_tasks(str(tmp_path / "missing.tar.gz"), None, MemoryBlobs())  # type: ignore[arg-type]


class Played:
    """Sandboxes are not needed to see what a trial makes of the tests' outcomes: a suite that knows which lines of
    the source break which tests."""

    def __init__(self, *, flaky: bool = False) -> None:
        self.flaky = flaky
        self.runs = 0

    async def run(self, _sandboxes: object, files: dict[str, File], *_: object) -> Checked:
        self.runs += 1
        source = files["src/tiny/__init__.py"].data
        outcomes = {
            "t.py::low": "failed" if b"value < low" not in source else "passed",
            "t.py::high": "failed" if b"value > high" not in source else "passed",
            "t.py::ok": "failed" if self.flaky and self.runs % 2 else "passed",
            "t.py::fine": "passed",
        }
        return Checked(outcomes, "", 1, timed_out=False)


def mutant(package: Package, old: bytes, new: str, function: str) -> Mutant:
    path = "src/tiny/__init__.py"
    begin = package.files[path].data.index(old)
    return Mutant(path, "by hand", 1, function, Change(begin, begin + len(old), new))


async def test_a_trial_keeps_what_shows_itself_twice_and_counts_the_rest(archive: Path) -> None:
    package = read_archive(archive)
    low = mutant(package, b"value < low", "value <= low", "clamp")
    high = mutant(package, b"value > high", "value >= high", "other")
    unseen = mutant(package, b"max(values)", "min(values)", "spread")
    good = ("t.py::fine", "t.py::high", "t.py::low", "t.py::ok")

    async def tried(*bug: Mutant, flaky: bool = False) -> object:
        suite: Any = Played(flaky=flaky)
        kept = await Trial(package, None, suite, good).run(bug)  # type: ignore[arg-type]
        return kept.broken if isinstance(kept, Kept) else kept.reason

    assert await tried(low) == ("t.py::low",)
    assert await tried(low, high) == ("t.py::high", "t.py::low")
    assert await tried(unseen) == "no test fails"
    assert await tried(low, unseen) == "no test fails for one of several bugs"
    assert await tried(low, flaky=True) == "flaky"


async def test_work_goes_on_in_order_never_too_much_at_once_and_nothing_is_left_running() -> None:
    running, most, ended = 0, 0, []
    gates = [asyncio.Event() for _ in range(12)]

    async def piece(n: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            await gates[n].wait()
            return n
        finally:
            running -= 1
            ended.append(n)

    async with aclosing(in_order((partial(piece, n) for n in range(12)), parallel=3)) as results:
        first = asyncio.ensure_future(anext(results))
        for n in (2, 1, 3, 4, 5):  # the first is slow: as many again go ahead of it, and no more
            gates[n].set()
            for _ in range(50):  # rounds of the loop, of which a piece's end and the next one's begin take a few
                await asyncio.sleep(0)
        assert (sorted(ended), running, first.done()) == ([1, 2, 3, 4, 5], 1, False)
        gates[0].set()
        assert [await first, *[await anext(results) for _ in range(4)]] == [0, 1, 2, 3, 4]
    assert (running, most) == (0, 3)

    async def broken() -> int:
        raise TaskError("broken")

    gates[11].set()
    async with aclosing(in_order([partial(piece, 11), broken], parallel=2)) as results:
        assert await anext(results) == 11
        with pytest.raises(TaskError, match="broken"):
            await anext(results)
