"""What a patch is worth, and which tasks are refused before they run."""

from pathlib import Path

import pytest

from envs.blobs import MemoryBlobs
from envs.environment import Site
from envs.errors import SandboxError, TaskError
from envs.score import Submission
from envs.swe.engine.engine import DockerSandboxes
from envs.swe.environment import SweEnvironment
from envs.swe.make.folder import Edit, make_task_from_folder, measure
from envs.swe.tools import BASH, EDITOR, SUBMIT
from envs.swe.world import SweReference, SweWorld
from envs.task import Limits, Reference, Task
from envs.tool import MalformedCall

BUG = Edit("shop/cart.py", "price * count", "price")
FAIL = ("tests/test_cart.py::test_total",)
PASS = ("tests/test_cart.py::test_empty", "tests/test_count.py::test_count")


def patch(path: str, text: str) -> str:
    lines = text.splitlines()
    return (
        f"diff --git a/{path} b/{path}\nnew file mode 100644\n--- /dev/null\n+++ b/{path}\n@@ -0,0 +1,{len(lines)} @@\n"
        + "".join(f"+{line}\n" for line in lines)
    )


@pytest.mark.needs("docker")
async def test_the_scorer_can_say_yes_and_no(world: SweEnvironment, pair: tuple[Task, Reference]) -> None:
    task, reference = pair
    gold = SweReference.model_validate(reference.data).gold_patch

    async def verdict(text: str) -> tuple[str, str]:
        score = await world.score(task, reference, Submission(kind="patch", text=text))
        assert (score.value == 1.0) == (score.verdict == "right")
        return score.verdict, score.words

    assert await verdict(gold) == ("right", "all 3 tests passed")
    assert await verdict(gold.rstrip("\n")) == ("right", "all 3 tests passed")
    assert await verdict("") == ("no_answer", "the patch is empty")
    assert await verdict("I fixed it.") == ("wrong", "the answer is no unified diff")
    assert (await verdict(gold.replace("cart.py", "till.py")))[1].startswith("the patch does not apply")
    other = gold.replace("+        out += price * count", "+        out += price - count")
    assert await verdict(other) == (
        "wrong",
        "0 of 1 failing tests fixed; not passed: tests/test_cart.py::test_total (failed)",
    )
    breaks = gold + patch("shop/__init__.py", "import nothing_there").replace("new file mode 100644\n", "").replace(
        "--- /dev/null", "--- a/shop/__init__.py"
    )
    assert (await verdict(breaks))[0] == "wrong"
    hangs = gold.replace(
        "+        out += price * count", "+        out += price * count\n+    while True: pass"
    ).replace("@@ -1,7 +1,7 @@", "@@ -1,7 +1,8 @@")
    slow = Reference(data={**reference.data, "test_seconds": 3})
    assert (await world.score(task, slow, Submission(kind="patch", text=hangs))).words == (
        "the tests did not end within 3 s"
    )
    await world.close()


CHEATS = {
    "conftest.py": "import pytest\n@pytest.hookimpl(hookwrapper=True)\ndef pytest_runtest_makereport():\n"
    "    out = yield\n    out.get_result().outcome = 'passed'",
    "tests/conftest.py": "collect_ignore_glob = ['*']",
    "pytest.ini": "[pytest]\naddopts = --co",
    "setup.cfg": "[tool:pytest]\naddopts = -k nothing",
    "sitecustomize.py": "import builtins",
    "tests/test_cart.py": "def test_total(): pass\ndef test_empty(): pass",
    "pytest.py": "print('PASSED tests/test_cart.py::test_total')",
    "pytest/__main__.py": "print('PASSED')",
    "_pytest/__init__.py": "",
    "unittest.py": "",
    "x.pth": "import os",
    "evil.egg-info/entry_points.txt": "[pytest11]\nevil = shop.evil",
}


@pytest.mark.needs("docker")
async def test_what_an_agent_plants_beside_its_change_is_not_applied(
    world: SweEnvironment, pair: tuple[Task, Reference]
) -> None:
    task, reference = pair
    planted = "".join(patch(path, text) for path, text in CHEATS.items())
    alone = await world.score(task, reference, Submission(kind="patch", text=planted))
    assert alone.words == (
        f"the patch changes only test files or their configuration; not applied: changes to {', '.join(CHEATS)}"
    )
    source = patch("shop/notes.py", "x = 1")
    beside = await world.score(task, reference, Submission(kind="patch", text=planted + source))
    assert beside.words == (
        "0 of 1 failing tests fixed; not passed: tests/test_cart.py::test_total (failed); "
        f"not applied: changes to {', '.join(CHEATS)}"
    )
    gold = SweReference.model_validate(reference.data).gold_patch
    assert (await world.score(task, reference, Submission(kind="patch", text=planted + gold))).right
    await world.close()


@pytest.mark.needs("docker")
async def test_the_suite_tells_which_tests_a_bug_breaks(world: SweEnvironment, shop: Path) -> None:
    assert await measure(shop, [BUG], world.sandboxes) == (FAIL, PASS)
    with pytest.raises(TaskError, match="breaks none of 3 passing tests"):
        await measure(shop, [Edit("shop/cart.py", "out = 0", "out = 0  # nothing")], world.sandboxes)
    await world.close()


def test_a_task_that_could_not_run_is_refused_naming_the_field(
    tmp_path: Path, blobs: MemoryBlobs, pair: tuple[Task, Reference]
) -> None:
    world = SweEnvironment(Site(tmp_path, blobs, {"docker_url": "unix:///nowhere.sock"}))
    task, reference = pair
    assert world.pin(task, reference) == (task, reference)
    assert world.pin(*world.pin(task, reference)) == (task, reference)

    def changed(**fields: object) -> Task:
        return task.model_copy(update={"world": {**task.world, **fields}})

    for wrong, words in [
        (changed(tree="0" * 64), "world.tree: no blob 0000"),
        (changed(tree="short"), "world.tree: String should have at least 64"),
        (changed(repository=""), "world.repository: "),
        (changed(workdir="here"), "world.workdir: 'here' must be an absolute path"),
        (changed(workdir="/x/../../etc"), "world.workdir: '/x/../../etc' must be an absolute path"),
        (changed(tree=blobs.put(b"no tree").hash), "is no tree"),
        (changed(tree=blobs.put(b'{"files":{"../x":{"blob":"a","size":1}}}').hash), "'../x' is no path inside"),
        (changed(tree=blobs.put(b'{"files":{"x":{"blob":"a","size":1}}}').hash), "the bytes of x .* are not stored"),
    ]:
        with pytest.raises(TaskError, match=words):
            world.pin(wrong, reference)
    wrong_references: list[tuple[dict[str, object], str]] = [
        ({"fail_to_pass": []}, "reference.fail_to_pass: "),
        ({"fail_to_pass": ["t"], "hidden_tests": {"../t": "0"}}, "reference.hidden_tests: '../t'"),
        ({"fail_to_pass": ["t"], "hidden_tests": {"t": "0"}}, "reference.hidden_tests: the bytes of t"),
    ]
    for data, words in wrong_references:
        with pytest.raises(TaskError, match=words):
            world.pin(task, Reference(data=data))


def test_the_prompt_holds_the_issue_and_nothing_of_the_reference(
    tmp_path: Path, blobs: MemoryBlobs, pair: tuple[Task, Reference]
) -> None:
    prompt = SweEnvironment(Site(tmp_path, blobs)).prompt(pair[0])
    assert "A cart's total forgets counts." in prompt
    assert "/testbed" in prompt
    assert "test_total" not in prompt


async def test_no_engine_and_odd_kinds_of_sandboxes_are_clear_sentences(
    tmp_path: Path, blobs: MemoryBlobs, pair: tuple[Task, Reference]
) -> None:
    away = SweEnvironment(Site(tmp_path, blobs), DockerSandboxes("unix:///nowhere.sock"))
    with pytest.raises(SandboxError, match="no Docker engine answers; start it"):
        await away.start(pair[0], {})
    await away.close()
    with pytest.raises(TaskError, match="sandbox: Input should be 'docker' or 'bubblewrap'"):
        SweEnvironment(Site(tmp_path, blobs, {"sandbox": "vm"}))
    bare = SweEnvironment(Site(tmp_path, blobs, {"sandbox": "bubblewrap"}))
    with pytest.raises(SandboxError, match=r"rootfs|not installed"):
        await bare.start(pair[0], {})


def test_tools_refuse_wrong_arguments_by_name() -> None:
    for tool, arguments, words in [
        (BASH, {}, "command: Field required"),
        (BASH, {"cmd": "ls", "command": "ls"}, "cmd: Extra inputs"),
        (EDITOR, {"command": "delete", "path": "x"}, "command: Input should be 'view'"),
        (SUBMIT, {"patch": "x"}, "patch: Extra inputs"),
    ]:
        with pytest.raises(MalformedCall, match=words):
            tool.parse(arguments)


def test_a_bug_that_does_not_fit_is_refused(shop: Path, blobs: MemoryBlobs) -> None:
    for wrong, words in [
        (Edit("shop/none.py", "a", "b"), "shop/none.py, which is not in the repository"),
        (Edit("shop/cart.py", "items", "b"), "stands 4 times in shop/cart.py, not once"),
    ]:
        with pytest.raises(TaskError, match=words):
            make_task_from_folder(shop, [wrong], blobs, id="x", issue="x", fail_to_pass=FAIL)


def test_the_task_says_its_repository_and_limits(pair: tuple[Task, Reference]) -> None:
    world = SweWorld.model_validate(pair[0].world)
    assert (world.repository, world.workdir, world.image) == ("shop", "/testbed", None)
    assert (pair[0].group, pair[0].limits) == ("shop", Limits())
