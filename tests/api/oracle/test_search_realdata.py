"""The search policy on HotpotQA's questions, through the real environment and real HTTP."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from api.oracle import Known, OracleSettings
from envs.blobs import MemoryBlobs
from envs.environment import Site
from envs.search.environment import SearchEnvironment
from envs.search.indexing import index_corpus
from envs.task import Reference, Task
from rollout.trajectory import Trajectory

Hotpot = tuple[SearchEnvironment, list[Known]]
Drive = Callable[..., Awaitable[list[Any]]]

pytestmark = pytest.mark.needs("realdata")


@pytest.fixture(scope="module")
def hotpot(realdata: Path, tmp_path_factory: pytest.TempPathFactory) -> Hotpot:
    site = Site(root=tmp_path_factory.mktemp("site"), blobs=MemoryBlobs())
    index_corpus(realdata / "search" / "corpus.jsonl", "hotpot", site)
    environment = SearchEnvironment(site)
    lines = (realdata / "search" / "questions.jsonl").read_text().splitlines()
    return environment, [pinned(environment, json.loads(line)) for line in lines]


def pinned(environment: SearchEnvironment, row: dict[str, Any]) -> Known:
    task = Task(id=row["id"], environment="search", question=row["question"], world={"corpus": "hotpot"})
    reference = Reference(data={"answers": row["answers"], "gold_docs": row["gold_docs"]})
    known, pinned_reference = environment.pin(task, reference)
    assert pinned_reference is not None
    return Known(known, pinned_reference)


async def test_it_solves_nine_in_ten_by_its_own_searching(hotpot: Hotpot, drive: Drive) -> None:
    environment, tasks = hotpot
    driven = await drive(environment, tasks)
    unsolved = [known.task.question for known, _, score in driven if score is None or not score.right]
    assert len(tasks) == 100
    print(f"{len(tasks) - len(unsolved)}/{len(tasks)} solved; not: {unsolved}")
    assert len(unsolved) <= 10, unsolved
    for _, trajectory, _ in driven:
        visits_only_what_was_listed(trajectory)


async def test_a_near_miss_scores_nothing(hotpot: Hotpot, drive: Drive) -> None:
    environment, tasks = hotpot
    driven = await drive(environment, tasks, OracleSettings(wrong=1.0))
    right = [
        (known.task.question, trajectory.submission.text)
        for known, trajectory, score in driven
        if score and score.value
    ]
    print(f"{len(right)} near misses of {len(tasks)} score: {right}")
    assert len(right) <= 1, right


def visits_only_what_was_listed(trajectory: Trajectory) -> None:
    listed: set[str] = set()
    for step, piece in trajectory.evidence:
        if piece.how == "listed":
            listed.add(piece.source)
        elif step.tool_call.name == "visit":
            assert piece.source in listed
