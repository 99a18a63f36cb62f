"""Rows of SWE-bench and SWE-smith on a repository with a history."""

import io
import json
import os
import subprocess
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from envs.blobs import MemoryBlobs
from envs.environment import Site
from envs.errors import TaskError
from envs.score import Submission
from envs.swe.engine.engine import connect, disconnect
from envs.swe.environment import SweEnvironment
from envs.swe.gitdir import File
from envs.swe.rows import files_of_commit, files_of_image, patched, task_of_row
from envs.swe.tools import BASH
from envs.swe.tree import load_tree
from envs.swe.world import SweReference, SweWorld
from tests.envs.swe.conftest import SHOP

FAIL = ["tests/test_cart.py::test_total"]
PASS = ["tests/test_cart.py::test_empty"]


def git(folder: Path, *words: str) -> str:
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@localhost", *words]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def history(shop: Path) -> dict[str, str]:
    """A repository whose last commit mends a bug and brings the test for it; `base` is the commit before."""
    cart, test = shop / "shop/cart.py", shop / "tests/test_cart.py"
    healthy, whole = cart.read_text(), test.read_text()
    cart.write_text(healthy.replace("price * count", "price"))
    test.write_text(whole.replace("def test_total", "def no_test_total"))
    git(shop, "init", "--quiet", "-b", "main")
    git(shop, "add", "-A")
    git(shop, "commit", "-qm", "base")
    base = git(shop, "rev-parse", "HEAD").strip()
    cart.write_text(healthy)
    test.write_text(whole)
    return {"base": base, "patch": git(shop, "diff", "--", "shop"), "test_patch": git(shop, "diff", "--", "tests")}


def test_a_commits_files_are_whole_and_as_they_were_committed(shop: Path) -> None:
    attributes = b"tests/ export-ignore\n*.bat text eol=crlf\n*.py export-subst\n"
    odd = {
        ".gitattributes": File(attributes),
        "run.bat": File(b"echo\n"),
        "version.py": File(b"ID = '$Format:%H$'\n"),
        "run me": File(b"", "100755"),
        "link": File(b"shop/cart.py", "120000"),
        "caf\u00e9\n.txt": File(b"\xff"),
    }
    for path, file in odd.items():
        if file.mode == "120000":
            (shop / path).symlink_to(file.data.decode())
        else:
            (shop / path).write_bytes(file.data)
            (shop / path).chmod(0o755 if file.mode == "100755" else 0o644)
    git(shop, "init", "--quiet", "-b", "main")
    git(shop, "add", "-A")
    git(shop, "commit", "-qm", "base")
    assert files_of_commit(shop, "HEAD") == {path: File(text.encode()) for path, text in SHOP.items()} | odd
    with pytest.raises(TaskError, match="has no commit --help"):
        files_of_commit(shop, "--help")


def bench_row(history: dict[str, str]) -> dict[str, object]:
    return {
        "instance_id": "shop__shop-1",
        "repo": "shop/shop",
        "base_commit": history["base"],
        "patch": history["patch"],
        "test_patch": history["test_patch"],
        "problem_statement": "A cart's total forgets counts.",
        "FAIL_TO_PASS": json.dumps(FAIL),
        "PASS_TO_PASS": json.dumps(PASS),
    }


def test_a_bench_row_becomes_a_task(shop: Path, history: dict[str, str]) -> None:
    blobs = MemoryBlobs()
    files = files_of_commit(shop, history["base"])
    task, reference = task_of_row(bench_row(history), files, blobs)
    answer = SweReference.model_validate(reference.data)
    world = SweWorld.model_validate(task.world)
    assert (task.id, task.group, world.repository) == ("shop__shop-1", "shop/shop", "shop/shop")
    assert (answer.fail_to_pass, answer.pass_to_pass) == (tuple(FAIL), tuple(PASS))
    assert answer.gold_patch == history["patch"]
    assert {p: blobs.get(b).decode() for p, b in answer.hidden_tests.items()} == {
        "tests/test_cart.py": (shop / "tests/test_cart.py").read_text()
    }
    tree = load_tree(world.tree, blobs)
    assert b"no_test_total" in blobs.get(tree.files["tests/test_cart.py"].blob)


def test_a_smith_rows_patch_is_taken_back(shop: Path, history: dict[str, str]) -> None:
    blobs = MemoryBlobs()
    git(shop, "add", "-A")
    git(shop, "commit", "-qm", "healthy")
    files = files_of_commit(shop, "HEAD")
    bug = git(shop, "diff", "HEAD", history["base"], "--", "shop")
    row = bench_row(history)
    del row["test_patch"]
    row.update(patch=bug, image_name="some/image", FAIL_TO_PASS=FAIL, PASS_TO_PASS=PASS)
    task, reference = task_of_row(row, files, blobs)
    answer, world = SweReference.model_validate(reference.data), SweWorld.model_validate(task.world)
    tree = load_tree(world.tree, blobs)
    assert world.image == "some/image"
    assert "tests/test_cart.py" not in tree.files, "the failing test is hidden"
    assert b"out += price\n" in blobs.get(tree.files["shop/cart.py"].blob)
    broken = {path: File(blobs.get(entry.blob), entry.mode) for path, entry in tree.files.items()}
    assert patched(broken, answer.gold_patch, "gold")["shop/cart.py"] == files["shop/cart.py"]


DOCKERFILE = b"""FROM trajc-base:1
COPY files /testbed
RUN cd /testbed && chown -R root /testbed && git init -q && git config user.name t \\
 && git config user.email t@localhost && git add -A \\
 && git commit -qm fix && git rm -q solution.py && git commit -qm base && git gc -q && echo built > built.so \\
 && mkdir -p tests/__pycache__ .pytest_cache/v && echo t > tests/__pycache__/test_cart.pyc && echo t > .pytest_cache/v/t
"""


LOOK = (
    "id -u; git log --oneline --all | wc -l; git rev-list --all --objects | wc -l; ls .git/objects; "
    "find . -name .git -prune -o -type f -print | sort"
)


@pytest.fixture
async def own_image(base_image: str) -> AsyncIterator[str]:  # noqa: ARG001
    """An image like those of SWE-bench: a repository whose history holds the solution, and something built."""
    name = f"trajc-tests-own:{os.getpid()}"
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        for path, data in (("Dockerfile", DOCKERFILE), ("files/solution.py", b"x = 1\n"), ("files/old.py", b"")):
            member = tarfile.TarInfo(path)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    context.seek(0)
    client = connect()
    try:
        await client.images.build(fileobj=context, encoding="identity", tag=name, rm=True, forcerm=True)
        yield name
        await client.images.delete(name, force=True)
    finally:
        await disconnect(client)


@pytest.mark.needs("docker")
async def test_a_bench_row_runs_in_its_own_image_and_is_scored(
    shop: Path,
    history: dict[str, str],
    tmp_path: Path,
    own_image: str,
) -> None:
    blobs = MemoryBlobs()
    files = files_of_commit(shop, history["base"])
    task, reference = task_of_row(bench_row(history), files, blobs, image=own_image)
    world = SweEnvironment(Site(tmp_path, blobs))
    session = await world.start(world.pin(task, reference)[0], {"run": "rows"})
    try:
        seen = await session.call("bash", BASH.parse({"command": LOOK}))
        # Root's, one commit of four files in three folders and itself; what was built stays.
        files_left = "./built.so ./shop/__init__.py ./shop/cart.py ./tests/test_cart.py ./tests/test_count.py"
        assert seen.text.split() == ["0", "1", "8", "info", *files_left.split()]
    finally:
        await session.close()
    gold = Submission(kind="patch", text=history["patch"])
    assert (await world.score(task, reference, gold)).right
    tests_only = Submission(kind="patch", text=history["test_patch"])
    assert "only test files" in (await world.score(task, reference, tests_only)).words
    await world.close()


@pytest.mark.needs("docker")
async def test_an_images_files_are_read_without_starting_it(base_image: str) -> None:
    client = connect()
    try:
        found = await files_of_image(client, base_image, "/etc/default")
    finally:
        await disconnect(client)
    assert "useradd" in found


def test_a_wrong_row_is_refused_naming_the_field(history: dict[str, str], shop: Path) -> None:
    files = files_of_commit(shop, history["base"])
    changes: list[tuple[dict[str, object], str]] = [
        ({"repo": ""}, "shop__shop-1: repo is missing or empty"),
        ({"problem_statement": None}, "problem_statement is missing"),
        ({"FAIL_TO_PASS": "[]"}, "FAIL_TO_PASS names no test"),
        ({"FAIL_TO_PASS": "[oops"}, "FAIL_TO_PASS is no JSON list"),
        ({"PASS_TO_PASS": [1]}, "PASS_TO_PASS is no list of test ids"),
        ({"PASS_TO_PASS": '"tests/test_cart.py::test_empty"'}, "PASS_TO_PASS is no list of test ids"),
        ({"PASS_TO_PASS": {"a": 1}}, "PASS_TO_PASS is no list of test ids"),
        ({"FAIL_TO_PASS": [""]}, "FAIL_TO_PASS is no list of test ids"),
        ({"test_patch": history["test_patch"].replace("no_test_total", "x")}, "test_patch does not apply"),
    ]
    for change, words in changes:
        with pytest.raises(TaskError, match=words):
            task_of_row({**bench_row(history), **change}, files, MemoryBlobs())
    with pytest.raises(TaskError, match="has no commit"):
        files_of_commit(shop, "0" * 40)
