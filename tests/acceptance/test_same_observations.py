"""The same task, environment and seed give the same observations: timings and the ids of containers aside, which is
what the mask of a replay takes away."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from envs.swe.make.folder import Edit, make_task_from_folder
from rollout.blobs import FolderBlobs
from rollout.replay import mask
from rollout.trajectory import Trajectory
from tests.acceptance.fleet import DEMO, Fleet, fleet, inline, until
from tests.envs.swe.conftest import rootfs

SEED = 7
LOOKS = (
    "ls -la; id; hostname; pwd; env | sort",
    "git log; git status; git diff HEAD",
    'python3 -c \'print({"a", "b", "c"}, hash("a"), [].__repr__)\'',
    "time sleep 0.2; date; sleep 600 & jobs",
    "python3 -m pytest -q -p no:cacheprovider; find . -newer beacon/schedule.py | sort",
    "grep -rn flash . | head -20; ps -o args= -u $(id -un) > /tmp/running; sort -u /tmp/running",
)
"""Beside what the oracle does by itself: commands whose output could differ."""


@pytest.fixture(scope="module")
def searching(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("same"), redis=False) as it:
        it.trajc("tasks", "index", "halvard", DEMO / "search" / "documents")
        it.serve().up()
        yield it


def observed(it: Fleet, tasks: Path, environment: str, *words: str | Path) -> list[list[Any]]:
    """Two runs of the same tasks by the oracle; of each, what the agent met, task by task."""
    oracle, base_url = it.oracle(tasks, *words)
    oracle.up()
    seen = []
    for _ in range(2):
        wanted = {"environment": environment, "model": "oracle", "base_urls": [base_url], "sampling": {"seed": SEED}}
        run = str(it.post("/v1/runs", {**wanted, "tasks": inline(tasks)})["id"])
        with it.store() as store:
            until(lambda: store.run(run).finished is not None, f"run {run}")  # noqa: B023
            assert store.accounts(run).succeeded == len(inline(tasks)), store.accounts(run)
            candidates = sorted(store.candidates(runs=[run]), key=lambda c: c.trajectory.task.id)
            seen.append([(*met(c.trajectory), c.score.value if c.score else None) for c in candidates])
    oracle.end()
    return seen


def met(trajectory: Trajectory) -> tuple[Any, ...]:
    messages = [
        (m.role, mask(m.content or ""), [(c.name, c.arguments) for c in m.tool_calls]) for m in trajectory.messages
    ]
    evidence = [
        piece.model_dump(exclude={"blob"} if piece.kind == "listing" else None) for _, piece in trajectory.evidence
    ]
    return trajectory.task, messages, evidence, trajectory.submission, trajectory.stop


@pytest.mark.parametrize("environment", ["search", "sql"])
def test_a_question_asked_again_meets_the_same(searching: Fleet, environment: str) -> None:
    first, second = observed(searching, DEMO / environment / "tasks.jsonl", environment, "--detours", "0.3")
    assert first == second
    assert all(evidence for _, _, evidence, *_ in first)


@pytest.mark.parametrize(
    "sandbox",
    [
        pytest.param("docker", marks=pytest.mark.needs("docker")),
        pytest.param("bubblewrap", marks=pytest.mark.needs("bubblewrap")),
    ],
)
@pytest.mark.timeout(600)
def test_a_repository_worked_on_again_meets_the_same(tmp_path: Path, sandbox: str) -> None:
    given = json.dumps({"swe": {"sandbox": sandbox, "rootfs": str(rootfs())}})
    with fleet(tmp_path, redis=False, environments=given) as it:
        it.serve().up()
        tasks, recording = beacon(it, tmp_path)
        first, second = observed(it, tasks, "swe", "--recording", recording)
        assert first == second
        assert [score for *_, score in first] == [0.0, 1.0], "the one that only looked, and the one that mended"


def beacon(it: Fleet, folder: Path) -> tuple[Path, Path]:
    """A planted bug as two tasks: one for the oracle itself, one for a recording of `LOOKS`."""
    source = DEMO / "swe" / "beacon"
    wanted = json.loads((source / "task.json").read_text())
    bug = [Edit(**edit) for edit in wanted.pop("bug")]
    blobs = FolderBlobs(it.home / "blobs")
    task, reference = make_task_from_folder(source / "repository", bug, blobs, repository="beacon", **wanted)
    one = {**task.model_dump(mode="json"), "reference": reference.data}
    other = {**one, "id": "a look around", "question": f"{task.question} Look around first."}
    tasks, recording = folder / "tasks.jsonl", folder / "recording.jsonl"
    tasks.write_text(json.dumps(one) + "\n" + json.dumps(other) + "\n")
    actions = [{"name": "bash", "arguments": {"command": command}} for command in LOOKS]
    moves = {"task": "a look around", "actions": [*actions, {"name": "submit", "arguments": {}}]}
    recording.write_text(json.dumps(moves) + "\n")
    return tasks, recording
