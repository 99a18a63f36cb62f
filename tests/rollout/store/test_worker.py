"""A rollout's work, with a real loop, store and engine: what ends well is scored, what breaks keeps its part."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import ValidationError

from envs.errors import SandboxError, TaskError
from envs.score import Score, Submission
from envs.task import Reference, Task
from rollout.accounts import Accounts
from rollout.admission import Admission
from rollout.engine import Done, Engine, Timing
from rollout.journal import FolderJournal, FolderJournals
from rollout.model import ModelError
from rollout.runs import RunSpec, TaskRow
from rollout.schema import runs
from rollout.scripted import ScriptedModel, call, say
from rollout.store import Store
from rollout.trajectory import Mark
from rollout.worker import RolloutHandler

SUBMIT = [call("echo", {"text": "hello"}), call("submit")]


@pytest.fixture
def clock() -> None:
    """These run by the real clock."""


def task(name: str = "t", answer: str | None = "submitted", environment: str = "echo") -> TaskRow:
    reference = None if answer is None else Reference(data={"answer": answer})
    return TaskRow(Task(id=name, environment=environment, question=name), reference)


async def run(
    store: Store,
    environment: Any,
    script: Any,
    rows: list[TaskRow],
    journals: FolderJournals | None = None,
    **spec: Any,
) -> str:
    """Queue the rows, work until nothing is queued, and give the run's id."""
    model = script if isinstance(script, ScriptedModel) else ScriptedModel(script)
    handler = RolloutHandler(
        store, {environment.name: environment}, lambda _: model, admission=Admission(starting=2), journals=journals
    )
    engine = Engine(store, {"rollout": handler}, "w", {"rollout": 8}, Timing(poll=0.05))
    wanted = RunSpec.model_validate(
        {"environment": rows[0].task.environment, "model": "parrot", "max_attempts": 1} | spec
    )
    made = await asyncio.to_thread(store.create_run, wanted, rows)
    working = asyncio.create_task(engine.run())
    async with asyncio.timeout(120):
        while (await asyncio.to_thread(store.run, made.id)).finished is None:  # noqa: ASYNC110 - it lies in the database
            await asyncio.sleep(0.02)
    engine.stop()
    await working
    return made.id


async def test_right_and_wrong_answers_both_succeed_and_are_told_apart(store: Store, echo: Any) -> None:
    id = await run(store, echo, SUBMIT, [task("right"), task("wrong", "something else"), task("unscored", None)])
    assert store.accounts(id) == Accounts(submitted=3, succeeded=3)
    verdicts = {c.trajectory.task.id: c.score and c.score.verdict for c in store.candidates(runs=[id])}
    assert verdicts == {"right": "right", "wrong": "wrong", "unscored": None}
    assert [log[-1] for log in echo.logs] == ["closed"] * 3


async def test_a_rollout_that_hands_in_nothing_is_scored_as_no_answer(store: Store, echo: Any) -> None:
    id = await run(store, echo, [say("I give up."), say("Really.")], [task()])
    (only,) = store.candidates(runs=[id])
    assert only.trajectory.stop == "no_tool_call"
    assert only.score == Score(
        scorer="trajc", version="1", value=0.0, verdict="no_answer", words="nothing was handed in (no_tool_call)"
    )


async def test_a_dead_endpoint_is_a_failure_with_what_there_was_and_no_score(store: Store, echo: Any) -> None:
    id = await run(store, echo, [SUBMIT[0], ModelError("the endpoint answers nothing")], [task()])
    assert store.accounts(id) == Accounts(submitted=1, failed={"model_error": 1})
    (row,) = store.trajectories(runs=[id], partial=True).items
    kept = store.trajectory(row.id)
    assert (kept.stop, kept.failure, kept.error, len(kept.steps)) == (
        None,
        "model_error",
        "the endpoint answers nothing",
        1,
    )
    assert store.scores(row.id) == ()


async def test_an_environment_that_this_worker_lacks_is_named(store: Store, echo: Any) -> None:
    id = await run(store, echo, SUBMIT, [task(environment="sql")], max_attempts=3)
    (rollout,) = store.rollouts(run=id).items
    assert (rollout.state, rollout.attempt) == ("failed", 1)
    assert rollout.error == "this worker has no environment 'sql'; it has: echo"


async def test_a_sandbox_that_breaks_while_scoring_does_not_cost_the_rollout(store: Store, echo: Any) -> None:
    failures = [SandboxError("the container died")] * 2

    async def score(task: Task, reference: Reference, submission: Submission) -> Score:
        if failures:
            raise failures.pop()
        judged: Score = await type(echo).score(echo, task, reference, submission)
        return judged

    echo.score = score
    id = await run(store, echo, SUBMIT, [task()])
    assert store.accounts(id) == Accounts(submitted=1, succeeded=1)
    assert len(echo.logs) == 1


async def test_a_scorer_that_cannot_judge_is_a_failure_and_never_a_zero(store: Store, echo: Any) -> None:
    async def score(*_: Any) -> Score:
        raise TaskError("the reference names no answer")

    echo.score = score
    id = await run(store, echo, SUBMIT, [task()])
    assert store.accounts(id) == Accounts(submitted=1, failed={"task_error": 1})
    (row,) = store.trajectories(runs=[id], partial=None).items
    assert (row.partial, row.stop, store.scores(row.id)) == (True, "answered", ())


async def test_no_more_sessions_start_at_once_than_are_admitted(store: Store, echo: Any) -> None:
    now, most, start = 0, 0, echo.start

    async def slow(task: Task, owner: Mapping[str, str]) -> Any:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.02)
        now -= 1
        return await start(task, owner)

    echo.start = slow
    id = await run(store, echo, SUBMIT, [task(str(i)) for i in range(8)])
    assert (most, store.accounts(id)) == (2, Accounts(submitted=8, succeeded=8))


async def test_a_scorer_that_breaks_costs_no_trajectory(store: Store, echo: Any) -> None:
    id = await run(store, echo, SUBMIT, [TaskRow(task().task, Reference(data={}))])
    (rollout,) = store.rollouts(run=id).items
    assert (rollout.failure, rollout.error) == ("environment_error", "scoring: echo: KeyError: 'answer'")
    (row,) = store.trajectories(runs=[id], partial=True).items
    assert (row.id, row.turns) == (rollout.trajectory, 2)


class FullDisk(FolderJournals):
    """No journal finds room."""

    def open(self, rollout: str, attempt: int, marks: tuple[Mark, ...] = ()) -> FolderJournal:  # noqa: ARG002
        return FolderJournal(Path("/dev/full"))


async def test_a_journal_that_cannot_be_written_costs_no_trajectory(store: Store, echo: Any, tmp_path: Path) -> None:
    id = await run(store, echo, SUBMIT, [task()], journals=FullDisk(tmp_path))
    (rollout,) = store.rollouts(run=id).items
    assert (rollout.failure, rollout.error) == (
        "environment_error",
        "OSError: [Errno 28] No space left on device",
    )
    (row,) = store.trajectories(runs=[id], partial=True).items
    assert (row.id, row.turns) == (rollout.trajectory, 1)
    assert [log[-1] for log in echo.logs] == ["closed"]


async def test_a_run_that_this_release_cannot_read_costs_no_rollout_of_another(store: Store, echo: Any) -> None:
    """As one of a later release, in a fleet that is just being brought up to it."""
    spec = RunSpec(environment="echo", model="scripted", max_attempts=1)
    unread, _ = (store.create_run(spec, [task(id)]).id for id in ("a", "b"))
    with store.write() as c:
        later = spec.model_dump(mode="json") | {"colour": "red"}
        c.execute(runs.update().where(runs.c.id == unread).values(spec=later))
    handler = RolloutHandler(store, {"echo": echo}, lambda _: ScriptedModel(SUBMIT))
    claims = store.claim("w", ["rollout"], 2, store.now(), 60)
    outcomes = await asyncio.gather(*(handler(claim) for claim in claims), return_exceptions=True)
    assert [type(o) for o in outcomes] == [ValidationError, Done]


async def test_a_database_that_is_away_when_a_rollout_begins_fails_no_attempt(store: Store, echo: Any) -> None:
    def rename(old: str, new: str) -> None:
        with store.engine.begin() as c:
            c.execute(sa.text(f"alter table {old} rename to {new}"))

    await asyncio.to_thread(store.create_run, RunSpec(environment="echo", model="parrot"), [task()])
    (claim,) = store.claim("w", ("rollout",), 1, store.now(), 60.0)
    rename("tasks", "tasks_away")
    asyncio.get_running_loop().call_later(0.5, rename, "tasks_away", "tasks")
    assert isinstance(await RolloutHandler(store, {"echo": echo}, lambda _: ScriptedModel(SUBMIT))(claim), Done)
