"""The software-engineering policy: a patch as edits, and whole rollouts on small repositories in real containers."""

import difflib
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from api.oracle import Known, OracleSettings
from api.oracle.swe_edits import edits_of
from api.oracle.swe_patch import FileEdit, Hunk, file_edits, misplaced
from envs.blobs import MemoryBlobs
from envs.environment import Site
from envs.swe.environment import SweEnvironment
from envs.swe.gitdir import File
from envs.swe.tree import store_tree
from envs.task import Reference, Task

Drive = Callable[..., Awaitable[list[Any]]]

PATCH = """\
diff --git a/a.py b/a.py
--- a/a.py
+++ b/a.py
@@ -1,2 +1,2 @@
 one
-two
+2
@@ -9,1 +9,2 @@
 nine
+ten
\\ No newline at end of file
diff --git a/new.txt b/new.txt
new file mode 100644
--- /dev/null
+++ b/new.txt
@@ -0,0 +1 @@
+hello
diff --git a/gone.txt b/gone.txt
deleted file mode 100644
--- a/gone.txt
+++ /dev/null
@@ -1 +0,0 @@
-bye
"""


def test_a_patch_is_read_as_edits() -> None:
    assert file_edits(PATCH) == [
        FileEdit("a.py", "a.py", (Hunk("one\ntwo\n", "one\n2\n", 1), Hunk("nine\n", "nine\nten", 9))),
        FileEdit(None, "new.txt", (Hunk("", "hello\n", 1),)),
        FileEdit("gone.txt", None, (Hunk("bye\n", "", 0),)),
    ]


def test_text_that_is_no_patch_has_no_edits() -> None:
    assert file_edits("I would rather not.") == []


def test_new_and_removed_files_have_their_own_tools() -> None:
    *_, created, removed = edits_of(PATCH, "/testbed")
    assert [(way.name, way.arguments) for edit in (created, removed) for way in edit.ways] == [
        ("str_replace_editor", {"command": "create", "path": "/testbed/new.txt", "file_text": "hello\n"}),
        ("bash", {"command": "rm /testbed/gone.txt"}),
    ]


def test_a_misplaced_patch_touches_none_of_the_files() -> None:
    (edit,) = file_edits(misplaced(PATCH))
    assert (edit.before, edit.after) == (None, "proposed_change.txt")


AREA = """\
def square(a):
    return a + a


def cube(a):
    return a * a
"""
LIKE = "def f{}():\n    x = 1\n    y = 2\n    return {}\n\n\n"
BASE = {
    "shapes/area.py": AREA,
    "shapes/twice.py": "".join(LIKE.format(n, "x") for n in range(4)),
    "shapes/old.py": "SIDES = 3\n",
    "shapes/__init__.py": "",
    "tests/test_area.py": "from shapes.area import square\n\n\ndef test_zero():\n    assert square(0) == 0\n",
}
MENDED = {
    **BASE,
    "shapes/area.py": AREA.replace("a * a", "a * a * a").replace("a + a", "a * a"),
    "shapes/twice.py": "".join(LIKE.format(n, "y" if n == 2 else "x") for n in range(4)),
    "shapes/sides.py": "SIDES = 4",
}
del MENDED["shapes/old.py"]
HIDDEN = """\
from pathlib import Path

from shapes.area import cube, square
from shapes.sides import SIDES
from shapes.twice import f0, f1, f2, f3


def test_square():
    assert square(3) == 9


def test_cube():
    assert cube(3) == 27


def test_only_one_of_the_likes_was_changed():
    assert [f0(), f1(), f2(), f3()] == [1, 1, 2, 1]


def test_sides():
    assert SIDES == 4
    assert not Path("shapes/old.py").exists()
"""


def shapes_task(site: Site) -> Known:
    tests = ("test_square", "test_cube", "test_only_one_of_the_likes_was_changed", "test_sides")
    tree = store_tree({path: File(text.encode()) for path, text in BASE.items()}, site.blobs)
    task = Task(
        id="shapes",
        environment="swe",
        question="`square(3)` gives 6.",
        world={"repository": "shapes", "tree": tree},
    )
    hidden = "tests/test_hidden.py"
    reference = Reference(
        data={
            "gold_patch": "".join(diff(BASE, MENDED, context=1)),
            "hidden_tests": {hidden: site.blobs.put(HIDDEN.encode()).hash},
            "fail_to_pass": [f"{hidden}::{name}" for name in tests],
        }
    )
    return Known(task, reference)


def diff(old: dict[str, str], new: dict[str, str], context: int) -> Iterable[str]:
    for path in sorted(old.keys() | new.keys()):
        before, after = old.get(path), new.get(path)
        for line in difflib.unified_diff(
            (before or "").splitlines(keepends=True),
            (after or "").splitlines(keepends=True),
            f"a/{path}" if before is not None else "/dev/null",
            f"b/{path}" if after is not None else "/dev/null",
            n=context,
        ):
            yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(root=tmp_path, blobs=MemoryBlobs())


@pytest.mark.needs("docker")
async def test_it_mends_a_repository_by_tools(site: Site, drive: Drive) -> None:
    environment = SweEnvironment(site)
    try:
        known = shapes_task(site)
        ((_, trajectory, score),) = await drive(environment, [known])
        assert score is not None
        assert score.right, score.words
        assert {step.tool_call.name for step in trajectory.steps} == {"bash", "str_replace_editor", "submit"}
    finally:
        await environment.close()


@pytest.mark.needs("docker")
async def test_a_wrong_sample_mends_nothing(site: Site, drive: Drive) -> None:
    environment = SweEnvironment(site)
    try:
        known = shapes_task(site)
        scores, patches = [], []
        for seed in range(4):
            ((_, trajectory, score),) = await drive(environment, [known], OracleSettings(wrong=1.0, seed=seed))
            scores.append(score.value)
            patches.append(trajectory.submission.text)
        assert scores == [0.0] * 4
        assert {bool(patch) for patch in patches} == {True, False}
    finally:
        await environment.close()
