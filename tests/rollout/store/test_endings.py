"""Many attempts that end at about the same time: one transaction, and each as if it had ended alone."""

from typing import Any

from rollout.accounts import Accounts
from rollout.endings import Ending
from rollout.runs import Attempt, Claim
from rollout.store import Store

LEASE = 60.0


def claim(store: Store, n: int, worker: str = "w1") -> tuple[Claim, ...]:
    return store.claim(worker, ["rollout"], n, store.now(), LEASE)


def success(store: Store, kit: Any, mine: Claim) -> Ending:
    return Ending(mine, "succeeded", store.keep(kit.trajectory(store, mine)), kit.right)


def test_many_endings_are_written_each_as_if_alone(store: Store, kit: Any) -> None:
    run = store.create_run(kit.spec, kit.rows(6))
    done, failed, back, hopeless, cancelled, twice = claim(store, 6)
    store.cancel_rollout(cancelled.job)
    wrong = Ending(failed, "failed", failure="model_error", words="no answer")
    endings = [
        success(store, kit, done),
        wrong,
        Ending(back, "released"),
        Ending(hopeless, "failed", failure="task_error", words="no such file", permanent=True),
        success(store, kit, cancelled),
        success(store, kit, twice),
        success(store, kit, twice),
        wrong,
    ]
    applied = ["applied"] * 4 + ["cancelled", "applied", "repeated", "superseded"]
    assert store.end(endings) == applied
    assert store.accounts(run.id) == Accounts(submitted=6, queued=2, succeeded=2, failed={"task_error": 1}, cancelled=1)
    now = store.now()
    assert store.rollout(failed.job).attempts == (
        Attempt(1, "w1", now, now, "failed", "model_error", "no answer", None),
    )
    assert [row.score for row in store.scores(store.rollout(done.job).trajectory or "")] == [kit.right]
    partial = store.trajectory_row(store.rollout(cancelled.job).trajectory or "")
    assert (partial.partial, store.scores(partial.id)) == (True, ())
    assert {c.job for c in claim(store, 9, "w2")} == {back.job}  # the other one's next attempt is due later
    told = [(e.kind, e.job) for e in store.events() if e.job and not e.kind.endswith(".running")]
    assert [(kind, job) for kind, job in told if kind != "rollout.cancelled"] == [
        ("rollout.succeeded", done.job),
        ("rollout.failed", failed.job),
        ("rollout.released", back.job),
        ("rollout.failed", hopeless.job),
        ("rollout.succeeded", twice.job),
    ]


def test_the_last_endings_of_a_run_finish_it(store: Store, kit: Any) -> None:
    first, second = (store.create_run(kit.spec, kit.rows(3)) for _ in range(2))
    store.end([success(store, kit, mine) for mine in claim(store, 5)])
    assert (store.run(first.id).finished, store.run(second.id).finished) == (store.now(), None)


def test_one_that_cannot_be_written_costs_the_others_nothing(store: Store, kit: Any) -> None:
    run = store.create_run(kit.spec, kit.rows(3))
    first, broken, last = claim(store, 3)
    endings = [success(store, kit, mine) for mine in (first, last)]
    told = store.end([endings[0], Ending(broken, "succeeded", result={"no": object()}), endings[1]])
    assert [told[0], told[2]] == ["applied", "applied"]
    assert isinstance(told[1], Exception)
    assert store.accounts(run.id) == Accounts(submitted=3, running=1, succeeded=2)
