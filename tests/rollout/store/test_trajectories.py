"""Trajectories, scores and references: whole, apart from each other, and streamed to the compiler."""

from typing import Any

import pytest

from envs.score import Score
from envs.task import Reference
from rollout.database import NotFound
from rollout.runs import Candidate, TaskRow
from rollout.store import Store
from rollout.trajectory import Source


def run_all(store: Store, kit: Any, n: int) -> list[Any]:
    store.create_run(kit.spec, kit.rows(n))
    made = []
    for mine in store.claim("w", ["rollout"], n, store.now(), 60):
        made.append(kit.trajectory(store, mine))
        store.finish(mine, made[-1], kit.right)
    return made


def test_a_trajectory_comes_back_whole_and_its_row_counts_it(store: Store, kit: Any) -> None:
    (made,) = run_all(store, kit, 1)
    assert store.trajectory(made.id) == made
    row = store.trajectory_row(made.id)
    assert (row.hash, row.task_hash, row.task_group, row.turns, row.stop) == (
        made.hash,
        made.task.hash,
        "g0",
        1,
        "answered",
    )
    assert (row.prompt_tokens, row.completion_tokens, row.partial, row.source) == (5, 2, False, "native")


def test_scoring_again_appends_and_the_newest_counts(store: Store, kit: Any) -> None:
    (made,) = run_all(store, kit, 1)
    again = Score(scorer="echo", version="2", value=0.0, verdict="wrong", words="said hello, wanted 0")
    store.add_score(made.id, again)
    assert [row.score for row in store.scores(made.id)] == [kit.right, again]
    assert list(store.candidates()) == [Candidate(made, Reference(data={"answer": "0"}), again)]


def test_every_trajectory_streams_once_across_stretches(store: Store, kit: Any) -> None:
    made = run_all(store, kit, 450)
    assert [c.trajectory.id for c in store.candidates()] == sorted(t.id for t in made)
    assert [c.reference for c in store.candidates()][:1] != [None]


def test_candidates_come_by_id_in_the_order_asked(store: Store, kit: Any) -> None:
    first, second, third = run_all(store, kit, 3)
    assert [c.trajectory for c in store.candidates_of([third.id, first.id])] == [third, first]
    with pytest.raises(NotFound, match="traj_x"):
        list(store.candidates_of([second.id, "traj_x"]))


def test_the_view_tells_of_each_trajectory_without_reading_it(store: Store, kit: Any) -> None:
    (made,) = run_all(store, kit, 1)
    told = {
        "id": made.id,
        "run": made.run,
        "task": made.task.id,
        "environment": "echo",
        "task_group": "g0",
        "split": "train",
        "model": "parrot",
        "stop": "answered",
        "verdict": "right",
        "score": 1.0,
        "turns": 1,
        "tokens": 2,
        "seconds": made.seconds,
        "imported": False,
    }
    assert list(store.trajectory_view(runs=[made.run])) == list(store.trajectory_view()) == [told]
    assert list(store.trajectory_view(runs=["run_x"])) == []


def test_candidates_are_filtered(store: Store, kit: Any) -> None:
    (made,) = run_all(store, kit, 1)
    for chosen in ({"runs": [made.run]}, {"environments": ["echo"]}, {"models": ["parrot"]}, {"partial": None}):
        assert [c.trajectory for c in store.candidates(**chosen)] == [made]
    for other in ({"runs": ["run_x"]}, {"environments": ["sql"]}, {"models": ["oracle"]}, {"partial": True}):
        assert list(store.candidates(**other)) == []


def test_an_imported_trajectory_is_kept_once_with_its_reference(store: Store, kit: Any) -> None:
    (made,) = run_all(store, kit, 1)
    source = Source(kind="imported", file="f" * 64, position=3, format="atif")
    imported = made.model_copy(update={"id": "tr_imported", "run": "", "rollout": "", "source": source})
    reference = Reference(data={"answer": "hello"})
    rows = [store.save_trajectory(imported, reference, kit.right) for _ in range(2)]
    assert rows[0] == rows[1]
    assert (rows[0].run, rows[0].rollout, rows[0].source) == (None, None, "imported")
    assert [c for c in store.candidates() if c.trajectory.id == "tr_imported"] == [
        Candidate(imported, reference, kit.right)
    ]
    assert len(store.scores("tr_imported")) == 1


def test_a_corrected_reference_does_not_change_what_was_queued_before(store: Store, kit: Any, clock: Any) -> None:
    (row,) = kit.rows(1)
    corrected = TaskRow(row.task, Reference(data={"answer": "zero"}))
    first = store.create_run(kit.spec, [row])
    clock.now += 1
    second = store.create_run(kit.spec, [corrected])
    answers = [store.work(store.rollouts(run=run.id).items[0].id).reference for run in (first, second)]
    assert answers == [row.reference, corrected.reference]
    assert store.reference(row.task.hash) == corrected.reference


def test_what_is_not_there_is_named(store: Store) -> None:
    for ask in (store.trajectory, store.trajectory_row):
        with pytest.raises(NotFound, match="no trajectory 'tr_x'"):
            ask("tr_x")
    with pytest.raises(NotFound, match="no rollout 'ro_x'"):
        store.rollout("ro_x")
    assert store.reference("no such hash") is None


def test_what_no_text_holds_in_the_words_of_a_scorer_or_an_error_loses_no_result(store: Store, kit: Any) -> None:
    rows = [TaskRow(row.task.model_copy(update={"group": "a\0b"}), row.reference) for row in kit.rows(2)]
    run = store.create_run(kit.spec, rows)
    done, cancelled = store.claim("w", ["rollout"], 2, store.now(), 60)
    wrong = Score(scorer="echo", version="1", value=0.0, verdict="wrong", words="not a\0b")
    assert store.finish(done, kit.trajectory(store, done), wrong) == "applied"
    store.cancel(run.id)
    assert store.fail(cancelled, "environment_error", "no a\0b\udcff") == "cancelled"
    (row,) = store.trajectories(runs=[run.id]).items
    assert row.task_group == "a\N{REPLACEMENT CHARACTER}b"
    assert [s.score.words for s in store.scores(row.id)] == ["not a\N{REPLACEMENT CHARACTER}b"]
    assert [a.error for a in store.rollout(cancelled.job).attempts] == ["no a\N{REPLACEMENT CHARACTER}b?"]
