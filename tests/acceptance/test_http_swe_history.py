"""Rows of SWE-bench's shape made of a real repository's history, loaded by the command, solved and rated.

The history is Debian's of a Python package: upstream's release and its own fixes, with the tests that they brought.
TRAJC_SOAK_N=full takes every fix; by default it is one.
"""

import asyncio
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from envs.swe.make.sdist import download
from tests.envs.swe.debian import fixes, git, history

PACKAGE = "sqlparse"
REPOSITORY = "andialbrecht/sqlparse"
FULL = os.environ.get("TRAJC_SOAK_N") == "full"


@pytest.fixture
def clones(tmp_path: Path) -> Path:
    """A folder with one clone."""
    version, patches = fixes(PACKAGE, tmp_path / "apt")
    (tmp_path / "sdist").mkdir()
    archive = asyncio.run(download(f"{PACKAGE}=={version}", tmp_path / "sdist"))
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path / "sdist", filter="data")
    clone = tmp_path / "clones" / REPOSITORY.replace("/", "__")
    clone.parent.mkdir()
    (tmp_path / "sdist" / f"{PACKAGE}-{version}").rename(clone)
    history(clone, patches)
    return clone.parent


@pytest.mark.soak
@pytest.mark.needs("docker", "network", "apt")
def test_fixes_of_a_real_history_become_rows_tasks_and_pass_rates(
    new_trajc: Callable, tmp_path: Path, clones: Path
) -> None:
    trajc = new_trajc()
    (clone,) = clones.iterdir()
    commits = git(clone, "rev-list", "HEAD").split()
    rows = tmp_path / "rows.jsonl"
    most = [] if FULL else ["--most", "1"]
    told = trajc.json("tasks", "mine-swe", clone, "--repo", REPOSITORY, "--out", rows, *most)
    assert told["commits"] == told["rows"] + sum(told["dropped"].values())
    assert (told["commits"] == len(commits) - 1) if FULL else (told["rows"] == 1)
    assert told["rows"] >= 1
    mined = [json.loads(line) for line in rows.read_text().splitlines()]
    for row in mined:
        assert row["base_commit"] in commits
        assert "tests/" not in row["patch"].partition("@@")[0]
        assert json.loads(row["FAIL_TO_PASS"])

    # One row more that nobody can load: its tests pass before the patch, and its id is another's.
    wrong = {**mined[0], "instance_id": "wrong-1", "FAIL_TO_PASS": json.loads(mined[0]["PASS_TO_PASS"])[:1]}
    rows.write_text("".join(json.dumps(row) + "\n" for row in [*mined, wrong, {**mined[0], "repo": ""}]))
    tasks = tmp_path / "tasks.jsonl"
    loaded = trajc.json("tasks", "load-swe", rows, "--clones", clones, "--verify", "--out", tasks, code=3)
    assert (loaded["rows"], loaded["tasks"]) == (len(mined) + 2, len(mined))
    assert loaded["images"] == {"": {"rows": len(mined) + 2, "present": True}}
    first, second = (one["faults"] for one in loaded["left_out"])
    assert [fault.partition(":")[0] for fault in first] == ["FAIL_TO_PASS passes before the gold patch"]
    assert [fault.partition(" is that of")[0] for fault in second] == [
        "repo is missing or empty",
        f"instance_id {mined[0]['instance_id']!r}",
    ]
    assert trajc.json("tasks", "validate", tasks) == {"tasks": len(mined), "faults": []}

    with trajc.serving():
        for share, solved in (("0", 1), ("1", 0)):
            with trajc.oracle(tasks, "--wrong", share) as endpoint:
                run = trajc.json("run", tasks, "--env", "swe", "--model", "oracle", "--base-url", endpoint)
            assert run["accounts"]["succeeded"] == len(mined)
            rated = trajc.json("tasks", "rate-swe", tasks, "--run", run["id"], "--out", tmp_path / "rated.jsonl")
            assert (rated["tasks"], rated["measured"]) == (len(mined), len(mined))
            assert [measured(line) for line in (tmp_path / "rated.jsonl").read_text().splitlines()] == [
                {"oracle": {"rollouts": 1, "right": solved}}
            ] * len(mined)
    assert trajc.json("tasks", "validate", tmp_path / "rated.jsonl")["faults"] == []


def measured(line: str) -> Any:
    return json.loads(line)["world"]["difficulty"]["measured"]
