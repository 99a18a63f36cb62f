"""Rows of data sets into tasks: every format read, every fault named, every image said, and tests that are run."""

import gzip
import io
import json
import os
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from envs.blobs import MemoryBlobs
from envs.environment import Site
from envs.errors import TaskError
from envs.score import Submission
from envs.swe.engine.engine import connect, disconnect
from envs.swe.environment import SweEnvironment
from envs.swe.load_rows import Loaded, Loading, load_rows
from envs.swe.make.suite import PYTEST
from envs.swe.patch import diff, touched
from envs.swe.row_files import Row, read_rows
from envs.swe.row_runs import command_of, image_of, targets_of
from envs.swe.rows import row_faults
from envs.swe.tools import BASH
from envs.swe.tree import load_tree
from envs.swe.world import SweReference, SweWorld

ROWS = [{"instance_id": "a", "FAIL_TO_PASS": ["t"]}, {"instance_id": "b", "FAIL_TO_PASS": ["u", "v"]}]


def write(folder: Path, name: str) -> Path:
    path = folder / name
    lines = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
    if name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    elif name.endswith(".arrow"):
        table = pa.Table.from_pylist(ROWS)
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
    elif name.endswith(".gz"):
        path.write_bytes(gzip.compress(lines))
    else:
        path.write_bytes(json.dumps(ROWS).encode() if name.endswith(".json") else lines)
    return path


@pytest.mark.parametrize("name", ["r.jsonl", "r.jsonl.gz", "r.ndjson", "r.json", "r.parquet", "r.arrow"])
def test_rows_are_read_from_every_format_alone_and_in_a_folder(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, name)
    expected = [Row(str(path), n, row) for n, row in enumerate(ROWS, 1)]
    assert list(read_rows(path)) == expected
    for beside in ("dataset_info.json", "README.md", ".hidden.jsonl"):
        (tmp_path / beside).write_text("{}")
    assert list(read_rows(tmp_path)) == expected


def test_a_line_that_is_no_row_is_a_fault_and_not_the_end(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text('{"instance_id": "a"}\n\n{oops\n[1]\n{"instance_id": "b"}\n')
    found = list(read_rows(path))
    assert [row.name for row in found] == ["a", f"{path}:3", f"{path}:4", "b"]
    assert found[1].fault.startswith("not JSON: ")
    assert found[2].fault == "a row is a JSON object, not list"
    for content, name in (("x", "x.parquet"), ("x", "x.arrow"), ("x", "x.json"), ("x", "x.jsonl.gz"), ("x", "x.csv")):
        (tmp_path / name).write_text(content)
        with pytest.raises(TaskError, match=name):
            list(read_rows(tmp_path / name))
    with pytest.raises(TaskError, match="no such file or folder"):
        list(read_rows(tmp_path / "missing"))


def test_everything_that_a_row_lacks_is_named_at_once() -> None:
    assert row_faults({}) == [
        "instance_id is missing or empty",
        "repo is missing or empty",
        "problem_statement is missing or empty",
        "patch is missing or empty",
        "FAIL_TO_PASS is missing or empty",
    ]
    whole = {"instance_id": "a", "repo": "o/n", "problem_statement": "p", "patch": "d", "FAIL_TO_PASS": '["t"]'}
    assert row_faults(whole) == []
    assert row_faults({**whole, "test_patch": None, "PASS_TO_PASS": "{"})[0] == "test_patch is missing or empty"
    assert row_faults({**whole, "PASS_TO_PASS": [1]}) == ["PASS_TO_PASS is no list of test ids"]
    assert row_faults({**whole, "FAIL_TO_PASS": "[]"}) == ["FAIL_TO_PASS names no test"]


def test_the_image_is_the_rows_or_its_data_sets() -> None:
    bench = {"instance_id": "Django__django-1", "repo": "django/django", "version": "5.0", "test_patch": "x"}
    assert image_of(bench) == "swebench/sweb.eval.x86_64.django_1776_django-1:latest"
    assert image_of(bench, "mine/{repo}:{id}") == "mine/django/django:Django__django-1"
    assert image_of({**bench, "image_name": "smith/x"}, "mine/{id}") == "smith/x"
    assert image_of({**bench, "docker_image": "gym/x"}) == "gym/x"
    assert image_of({"instance_id": "a"}) is None


def test_the_command_is_the_rows_or_its_repositorys() -> None:
    changed = ("tests/admin/tests.py", "tests/admin/data.json")
    patch = "".join(f"diff --git a/{p} b/{p}\n--- a/{p}\n+++ b/{p}\n@@ -1 +1 @@\n-a\n+b\n" for p in changed)
    assert command_of({"repo": "o/n"}) == PYTEST
    assert command_of({"repo": "o/n", "test_command": "make check"}) == "make check"
    assert command_of({"install_config": {"test_cmd": ["cd x", "pytest"]}}) == "cd x && pytest"
    django = command_of({"repo": "django/django"})
    assert django.startswith("python tests/runtests.py --verbosity 2")
    assert targets_of({"test_patch": patch}, django) == ("admin.tests",)
    assert targets_of({"test_patch": patch}, PYTEST) == ()


BROKEN = "from only_in_env import factor\n\n\ndef scaled(x):\n    return x + factor\n"
DOCKERFILE = b"""FROM trajc-base:1
RUN git init -q /opt/up && cd /opt/up && echo 1 > up.py && git add up.py \\
 && git -c user.name=t -c user.email=t@l commit -qm u
COPY conda /opt/miniconda3
COPY files /testbed
RUN chmod -R a+rx /opt/miniconda3 && chown -R root /testbed && cd /testbed && git init -q && git config user.name t \\
 && git config user.email t@localhost && echo 'secret = 1' > later.py && git add -A && git commit -qm later \\
 && git rm -q later.py && git commit -qm base && git gc -q && echo built > built.so \\
 && mkdir '[odd] !' && echo 'factor = 3' > '[odd] !/generated.py' && echo '*.log' > .git/info/exclude && touch a.log \\
 && git -c protocol.file.allow=always submodule add -q /opt/up helpers && git commit -qm module
"""
CONTEXT = {
    "Dockerfile": DOCKERFILE,
    "conda/bin/activate": b"export BASE=/opt/miniconda3 CONDA_DEFAULT_ENV=$1\nPATH=$BASE/envs/$1/bin:$PATH\n",
    "conda/envs/testbed/bin/python3": b'#!/bin/sh\nPYTHONPATH="$BASE/lib:$PYTHONPATH" exec /usr/bin/python3 "$@"\n',
    "conda/lib/only_in_env.py": b"factor = 3\n",
    "files/scale.py": BROKEN.encode(),
    "files/tests/test_scale.py": b"def test_old():\n    from scale import scaled\n    assert scaled(0) >= 0\n",
}
"""An image like SWE-bench's: the repository's Python is a conda environment, and the history knows what comes later."""
PATCH = """diff --git a/scale.py b/scale.py
--- a/scale.py
+++ b/scale.py
@@ -2,4 +2,4 @@
 
 
 def scaled(x):
-    return x + factor
+    return x * factor
"""  # noqa: W293
TEST_PATCH = """diff --git a/tests/test_scale.py b/tests/test_scale.py
--- a/tests/test_scale.py
+++ b/tests/test_scale.py
@@ -1,3 +1,5 @@
 def test_old():
     from scale import scaled
     assert scaled(0) >= 0
+def test_new():
+    assert __import__("scale").scaled(2) == 6
"""
ROW = {
    "instance_id": "acme__scale-7",
    "repo": "acme/scale",
    "version": "1.0",
    "base_commit": "0" * 40,
    "problem_statement": "Scaling adds.",
    "patch": PATCH,
    "test_patch": TEST_PATCH,
    "FAIL_TO_PASS": '["tests/test_scale.py::test_new"]',
    "PASS_TO_PASS": '["tests/test_scale.py::test_old"]',
}


@pytest.fixture
async def bench_image(base_image: str) -> AsyncIterator[str]:  # noqa: ARG001
    name = f"trajc-tests-bench:{os.getpid()}"
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        for path, data in CONTEXT.items():
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(data), 0o755
            tar.addfile(member, io.BytesIO(data))
    context.seek(0)
    client = connect()
    try:
        await client.images.build(fileobj=context, encoding="identity", tag=name, rm=True, forcerm=True)
        yield name
        await client.images.delete(name, force=True)
    finally:
        await disconnect(client)


async def loaded(world: SweEnvironment, blobs: MemoryBlobs, *rows: dict[str, Any], **how: Any) -> list[Loaded]:
    numbered = [Row("r.jsonl", n, row) for n, row in enumerate(rows, 1)]
    return [one async for one in load_rows(numbered, Loading(**how), world.sandboxes, blobs)]


@pytest.mark.needs("docker")
async def test_a_row_as_it_is_runs_in_its_images_conda_environment(bench_image: str, tmp_path: Path) -> None:
    blobs = MemoryBlobs()
    world = SweEnvironment(Site(tmp_path, blobs))
    try:
        (one,) = await loaded(world, blobs, ROW, image=bench_image, verified=True)
        assert (one.faults, one.image, one.present) == ((), bench_image, True)
        assert one.task is not None
        task, reference = one.task
        tree = load_tree(SweWorld.model_validate(task.world).tree, blobs)
        assert sorted(tree.files) == [".gitmodules", "scale.py", "tests/test_scale.py"], (
            "what was built stays in the image"
        )
        session = await world.start(task, {"run": "rows"})
        try:
            look = "echo $CONDA_DEFAULT_ENV; pwd; python3 -c 'import only_in_env as o; print(o.factor)'; ls; "
            look += "git log --all --oneline | wc -l; git grep -c secret $(git rev-list --all)"
            seen = await session.call("bash", BASH.parse({"command": look}))
            words = ["testbed", "/testbed", "3", "[odd]", "!", "a.log", "built.so", "helpers", "scale.py", "tests", "1"]
            assert seen.text.split()[: len(words)] == words
            assert "later.py" not in seen.text
            edit = "git status --short; sed -i 's/x +/x */' scale.py; echo 'y = 1' > new.py"
            assert (await session.call("bash", BASH.parse({"command": edit}))).text == "[no output]"
            assert touched((await session.submission()).text) == ["new.py", "scale.py"], "what was built is no edit"  # type: ignore[union-attr]
        finally:
            await session.close()
        answer = SweReference.model_validate(reference.data)
        for patch, value in ((answer.gold_patch, 1.0), ("", 0.0), (PATCH.replace("scale.py", "other.py"), 0.0)):
            assert (await world.score(task, reference, Submission(kind="patch", text=patch))).value == value
        instead = diff(
            "only_in_env.py", None, "class Factor:\n    __radd__ = lambda self, x: x * 3\nfactor = Factor()\n"
        )
        given = await world.score(task, reference, Submission(kind="patch", text=instead))
        assert (
            given.words == "the patch replaces parts of the test runner while it runs: the installed module only_in_env"
        )
    finally:
        await world.close()


@pytest.mark.needs("docker")
async def test_every_row_is_a_task_or_says_why_not(bench_image: str, tmp_path: Path) -> None:
    blobs = MemoryBlobs()
    world = SweEnvironment(Site(tmp_path, blobs))
    bare = {k: v for k, v in ROW.items() if k != "version"}
    try:
        found = await loaded(
            world,
            blobs,
            {**ROW, "instance_id": "good", "image_name": bench_image},
            {**ROW, "instance_id": "no-environment", "image_name": bench_image, "test_command": f"/usr/bin/{PYTEST}"},
            {**ROW, "instance_id": "no-image"},
            {**bare, "instance_id": "no-files"},
            {**ROW, "instance_id": "good", "patch": ""},
            {**ROW, "instance_id": "wrong", "image_name": bench_image, "patch": PATCH.replace("x +", "y +")},
            verified=True,
            parallel=3,
        )
    finally:
        await world.close()
    said = {f"{one.row.number} {one.row.name}": one.faults for one in found}
    pair = "tests/test_scale.py::test_new, tests/test_scale.py::test_old"
    nowhere = "its files are nowhere: no clone of acme/scale was given"
    missing = "swebench/sweb.eval.x86_64.no-image:latest"
    assert said.pop("6 wrong")[0].startswith("patch does not apply: ")
    assert said == {
        "1 good": (),
        "2 no-environment": (f"does not pass after the gold patch: {pair}",),
        "3 no-image": (f"{nowhere}, and the engine has no {missing}",),
        "4 no-files": (f"{nowhere}, and the row names no image",),
        "5 good": ("patch is missing or empty", "instance_id 'good' is that of r.jsonl:1 too"),
    }
    assert [(one.image, one.present) for one in found[:4]] == [
        (bench_image, True),
        (bench_image, True),
        (missing, False),
        (None, True),
    ]
