"""The oracle on the demo's tasks: straight, by detours, through faults, and wrong."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from api.oracle import Faults, Known, Library, OracleSettings, load_tasks
from envs.blobs import MemoryBlobs
from envs.environment import Site
from envs.search.environment import SearchEnvironment
from envs.search.indexing import index_corpus
from envs.sql.environment import SqlEnvironment
from envs.sql.load import load_database
from envs.swe.environment import SweEnvironment
from envs.swe.make.folder import Edit, make_task_from_folder
from rollout.client import Timeouts
from rollout.retry import Backoff

DEMO = Path(__file__).parents[3] / "demo"
QUICK = {"backoff": Backoff(base=0.01, attempts=20, timeout_attempts=20), "timeouts": Timeouts(total=60)}
Demo = tuple[Any, list[Known]]
Drive = Callable[..., Awaitable[list[Any]]]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(root=tmp_path_factory.mktemp("site"), blobs=MemoryBlobs())


@pytest.fixture(scope="module")
def search(site: Site) -> Demo:
    index_corpus(DEMO / "search" / "documents", "halvard", site)
    return pinned(SearchEnvironment(site), load_tasks(DEMO / "search" / "tasks.jsonl"))


@pytest.fixture(scope="module")
def sql(site: Site) -> Demo:
    load_database(DEMO / "sql" / "ferries", "ferries", site)
    return pinned(SqlEnvironment(site), load_tasks(DEMO / "sql" / "tasks.jsonl"))


@pytest.fixture
def swe(site: Site) -> Demo:
    known = []
    for described in sorted(DEMO.glob("swe/*/task.json")):
        wanted = json.loads(described.read_text())
        bug = [Edit(**edit) for edit in wanted.pop("bug")]
        known.append(Known(*make_task_from_folder(described.parent / "repository", bug, site.blobs, **wanted)))
    return SweEnvironment(site), known


def pinned(environment: Any, known: list[Known]) -> Demo:
    out = []
    for one in known:
        task, reference = environment.pin(one.task, one.reference)
        assert reference is not None
        out.append(Known(task, reference))
    return environment, out


def verdicts(driven: list[Any]) -> dict[str, str]:
    """Task -> verdict, or the stop reason where nothing was handed in."""
    return {known.task.id: score.verdict if score else str(ended.stop) for known, ended, score in driven}


def all_right(known: list[Known]) -> dict[str, str]:
    return dict.fromkeys((one.task.id for one in known), "right")


def test_a_task_that_was_not_pinned_is_found_by_its_pinned_prompt(search: Demo, sql: Demo) -> None:
    for environment, known in (search, sql):
        library = Library(load_tasks(DEMO / environment.name / "tasks.jsonl"))
        found = [library.asked(environment.prompt(one.task)) for one in known]
        assert [one and one.task.id for one in found] == [one.task.id for one in known]


async def test_it_solves_the_search_tasks(search: Demo, drive: Drive) -> None:
    environment, known = search
    assert verdicts(await drive(environment, known)) == all_right(known)


async def test_it_solves_the_sql_tasks(sql: Demo, drive: Drive) -> None:
    environment, known = sql
    assert verdicts(await drive(environment, known)) == all_right(known)


@pytest.mark.needs("docker")
async def test_it_solves_the_software_tasks(swe: Demo, drive: Drive) -> None:
    environment, known = swe
    try:
        assert verdicts(await drive(environment, known, OracleSettings(detours=0.5))) == all_right(known)
    finally:
        await environment.close()


@pytest.mark.parametrize("seed", range(3))
async def test_detours_cost_turns_and_not_the_answer(seed: int, search: Demo, sql: Demo, drive: Drive) -> None:
    for environment, known in (search, sql):
        straight = await drive(environment, known)
        strayed = await drive(environment, known, OracleSettings(detours=0.5, seed=seed))
        assert verdicts(strayed) == all_right(known)
        assert calls(strayed) > calls(straight)


async def test_faults_cost_requests_and_not_the_answer(search: Demo, sql: Demo, drive: Drive) -> None:
    faults = Faults(rate_limited=0.1, server_error=0.1, reset=0.1, malformed=0.2, unparsed=0.3)
    settings = OracleSettings(faults=faults, retry_after=0.01, reasoning="think")
    for environment, known in (search, sql):
        driven = await drive(environment, known, settings, client=QUICK)
        assert verdicts(driven) == all_right(known)
        made = [call for _, ended, _ in driven for call in ended.calls]
        assert sum(call.attempts for call in made) > len(made)
        assert any(call.recovered for call in made)
        assert any(step.malformed for _, ended, _ in driven for step in ended.steps)


async def test_a_hang_is_outlived_by_a_timeout(sql: Demo, drive: Drive) -> None:
    environment, known = sql
    client = {"backoff": QUICK["backoff"], "timeouts": Timeouts(total=1.5)}
    driven = await drive(environment, known[:2], OracleSettings(faults=Faults(hang=0.2)), client=client)
    assert verdicts(driven) == all_right(known[:2])
    assert any(call.attempts > 1 for _, ended, _ in driven for call in ended.calls)


async def test_wrong_samples_are_wrong_and_the_same_ones_each_time(search: Demo, drive: Drive) -> None:
    environment, known = search
    settings = OracleSettings(wrong=0.5)
    first, again = [verdicts(await drive(environment, known, settings)) for _ in range(2)]
    assert first == again
    assert set(first.values()) == {"right", "wrong"}


def calls(driven: list[Any]) -> int:
    return sum(len(ended.calls) for _, ended, _ in driven)
