"""The queue: one owner at a time, and a result that only the current attempt can write."""

import subprocess
import sys
from typing import Any

import pytest

from envs.blobs import BlobStore
from envs.errors import FailureClass
from rollout.accounts import Accounts
from rollout.requeue import WORKER_LOST_ATTEMPTS
from rollout.runs import Attempt, Claim, RunSpec
from rollout.store import Store

LEASE = 60.0


def claim(store: Store, n: int = 1, worker: str = "w1") -> tuple[Claim, ...]:
    return store.claim(worker, ["rollout"], n, store.now(), LEASE)


def ids(claims: tuple[Claim, ...]) -> list[str]:
    return [each.job for each in claims]


def test_claims_follow_the_order_of_queueing(store: Store, kit: Any) -> None:
    run = store.create_run(kit.spec, kit.rows(5))
    queued = [rollout.id for rollout in store.rollouts(run=run.id).items]
    assert ids(claim(store, 2)) + ids(claim(store, 9, "w2")) == queued
    assert claim(store) == ()
    assert store.accounts(run.id) == Accounts(submitted=5, running=5)


def test_a_run_of_higher_priority_goes_first(store: Store, kit: Any) -> None:
    low = store.create_run(kit.spec, kit.rows(2))
    high = store.create_run(kit.spec.model_copy(update={"priority": 5}), kit.rows(2))
    assert [each.run for each in claim(store, 3)] == [high.id, high.id, low.id]


def test_a_paused_run_gives_nothing_until_it_is_resumed(store: Store, kit: Any) -> None:
    run = store.create_run(kit.spec, kit.rows(2))
    other = store.create_run(kit.spec, kit.rows(1))
    store.pause(run.id)
    (queued,) = store.rollouts(run=run.id, limit=1).items
    assert [each.run for each in claim(store, 9)] == [other.id]
    assert store.claim_one("w1", queued.id, 1, store.now(), LEASE) is None
    store.resume(run.id)
    assert len(claim(store, 9)) == 2


def test_a_finished_rollout_has_one_trajectory_one_score_and_its_history(store: Store, kit: Any) -> None:
    run = store.create_run(kit.spec, kit.rows(1))
    (mine,) = claim(store)
    made = kit.trajectory(store, mine)
    assert store.finish(mine, made, kit.right) == "applied"
    rollout = store.rollout(mine.job)
    assert (rollout.state, rollout.trajectory, rollout.worker) == ("succeeded", made.id, None)
    assert rollout.attempts == (Attempt(1, "w1", store.now(), store.now(), "succeeded", None, "", made.id),)
    assert store.trajectory(made.id) == made
    assert [row.score for row in store.scores(made.id)] == [kit.right]
    assert store.accounts(run.id) == Accounts(submitted=1, succeeded=1)
    assert store.run(run.id).finished == store.now()


def test_a_late_first_attempt_after_a_second_finished_changes_nothing(store: Store, kit: Any, clock: Any) -> None:
    store.create_run(kit.spec, kit.rows(1))
    (first,) = claim(store)
    clock.now += LEASE + 1
    assert store.reap_expired(clock.now) == (first.job,)
    (second,) = claim(store, worker="w2")
    assert (second.job, second.attempt) == (first.job, 2)
    late, made = kit.trajectory(store, first, "late"), kit.trajectory(store, second, "in time")
    assert store.finish(first, late, kit.right) == "superseded"  # while the second one runs
    assert store.finish(second, made, kit.right) == "applied"
    before = store.rollout(first.job)
    assert store.finish(first, late, kit.right) == "superseded"
    assert store.fail(first, "model_error", "late") == "superseded"
    assert store.release(first) == "superseded"
    assert store.rollout(first.job) == before
    assert [row.id for row in store.trajectories(partial=None).items] == [made.id]


def test_a_message_delivered_twice_starts_one_attempt(store: Store, kit: Any) -> None:
    store.create_run(kit.spec, kit.rows(1))
    ((job, attempt),) = store.due(["rollout"], 10, store.now())
    mine = store.claim_one("w1", job, attempt, store.now(), LEASE)
    assert mine is not None
    assert store.claim_one("w1", job, attempt, store.now(), LEASE) is None
    assert store.claim_one("w2", job, attempt, store.now(), LEASE) is None
    store.finish(mine, kit.trajectory(store, mine))
    assert store.claim_one("w2", job, attempt, store.now(), LEASE) is None
    assert store.due(["rollout"], 10, store.now()) == ()


def test_an_old_message_does_not_start_a_later_attempt(store: Store, kit: Any) -> None:
    store.create_run(kit.spec, kit.rows(1))
    (mine,) = claim(store)
    store.release(mine)
    assert store.claim_one("w2", mine.job, 1, store.now(), LEASE) is None
    assert store.claim_one("w2", mine.job, 3, store.now(), LEASE) is None
    again = store.claim_one("w2", mine.job, 2, store.now(), LEASE)
    assert again is not None
    assert again.attempt == 2


def test_a_result_told_twice_is_kept_once(store: Store, kit: Any) -> None:
    store.create_run(kit.spec, kit.rows(1))
    (mine,) = claim(store)
    made = kit.trajectory(store, mine)
    assert [store.finish(mine, made, kit.right) for _ in range(2)] == ["applied", "repeated"]
    assert len(store.scores(made.id)) == 1
    assert len(store.rollout(mine.job).attempts) == 1


def test_a_claim_is_its_workers_alone(store: Store, kit: Any) -> None:
    store.create_run(kit.spec, kit.rows(1))
    (mine,) = claim(store, worker="w1")
    forged = Claim(**{**mine.__dict__, "worker": "w2"})
    assert store.finish(forged, kit.trajectory(store, mine)) == "superseded"


def test_a_cancel_that_overtakes_its_own_start_wins(store: Store, kit: Any) -> None:
    run = store.create_run(kit.spec, kit.rows(2))
    ((job, attempt), _) = store.due(["rollout"], 10, store.now())  # the message is under way
    assert store.cancel_rollout(job).state == "cancelled"
    assert store.claim_one("w1", job, attempt, store.now(), LEASE) is None
    assert job not in ids(claim(store, 9))
    assert store.accounts(run.id) == Accounts(submitted=2, running=1, cancelled=1)


def test_a_cancelled_rollout_tells_its_worker_and_keeps_what_there_is(store: Store, kit: Any) -> None:
    run = store.create_run(kit.spec, kit.rows(2))
    mine, other = claim(store, 2)
    store.cancel_rollout(mine.job)
    assert store.renew([mine, other], store.now(), LEASE) == {mine: "cancelled"}
    made = kit.trajectory(store, mine)
    assert store.finish(mine, made, kit.right) == "cancelled"
    assert store.finish(mine, made, kit.right) == "repeated"
    rollout = store.rollout(mine.job)
    assert (rollout.state, rollout.trajectory) == ("cancelled", made.id)
    assert store.trajectory_row(made.id).partial
    assert store.scores(made.id) == ()
    assert store.accounts(run.id) == Accounts(submitted=2, running=1, cancelled=1)


def test_cancelling_a_run_ends_all_that_has_not_ended(store: Store, kit: Any) -> None:
    run = store.create_run(kit.spec, kit.rows(4), sealed=False)
    done, running = claim(store, 2)
    store.finish(done, kit.trajectory(store, done))
    cancelled = store.cancel(run.id)
    assert cancelled.accounts == Accounts(submitted=4, succeeded=1, cancelled=3)
    assert (cancelled.sealed, cancelled.cancel_requested, cancelled.finished) == (True, True, store.now())
    assert store.renew([running], store.now(), LEASE) == {running: "cancelled"}
    assert store.cancel(run.id) == cancelled


def test_a_failure_is_tried_again_after_a_delay_until_it_stands(store: Store, kit: Any, clock: Any) -> None:
    run = store.create_run(kit.spec, kit.rows(1))
    delays = []
    for _ in range(3):
        (mine,) = claim(store)
        assert store.fail(mine, "sandbox_error", "no\x00engine", kit.trajectory(store, mine, stop=False)) == "applied"
        delays.append(store.rollout(mine.job).next_attempt_at - clock.now)
        assert claim(store) == ()
        clock.now += 100
    rollout = store.rollout(mine.job)
    assert delays[:2] == [5.0, 10.0]
    assert (rollout.state, rollout.failure, rollout.error) == (
        "failed",
        "sandbox_error",
        "no\N{REPLACEMENT CHARACTER}engine",
    )
    assert [(a.attempt, a.outcome, a.failure) for a in rollout.attempts] == [
        (n, "failed", "sandbox_error") for n in (1, 2, 3)
    ]
    assert [row.partial for row in store.trajectories(partial=None).items] == [True] * 3
    assert list(store.candidates()) == []
    assert store.accounts(run.id) == Accounts(submitted=1, failed={"sandbox_error": 1})


def test_a_wrong_task_is_not_tried_again(store: Store, kit: Any) -> None:
    store.create_run(kit.spec, kit.rows(1))
    (mine,) = claim(store)
    store.fail(mine, "task_error", "no such corpus")
    assert store.rollout(mine.job).state == "failed"


def test_what_failed_is_retried_by_class_with_a_fresh_allowance(store: Store, kit: Any) -> None:
    run = store.create_run(kit.spec.model_copy(update={"max_attempts": 1}), kit.rows(3))
    classes: tuple[FailureClass, ...] = ("model_error", "sandbox_error", "sandbox_error")
    for mine, failure in zip(claim(store, 3), classes, strict=True):
        store.fail(mine, failure, "broke")
    assert store.run(run.id).finished is not None
    assert store.retry(run.id, ["sandbox_error"]) == 2
    assert store.accounts(run.id) == Accounts(submitted=3, queued=2, failed={"model_error": 1})
    assert store.run(run.id).finished is None
    again = claim(store, 9)
    assert [each.attempt for each in again] == [2, 2]
    store.fail(again[0], "sandbox_error", "broke again")
    assert store.finish(again[1], kit.trajectory(store, again[1])) == "applied"
    assert store.accounts(run.id) == Accounts(submitted=3, succeeded=1, failed={"model_error": 1, "sandbox_error": 1})
    assert store.retry(run.id) == 2


def test_a_run_that_ended_while_it_was_paused_can_be_tried_again(store: Store, kit: Any) -> None:
    """Its last rollouts failed while it was held, and who resumes a run that is done has said so once."""
    run = store.create_run(kit.spec, kit.rows(1))
    (claim,) = store.claim("w", ("rollout",), 1, store.now(), 60)
    store.pause(run.id)
    store.fail(claim, "model_error", "nobody answers", permanent=True)
    assert store.resume(run.id).finished is not None
    assert store.retry(run.id) == 1
    assert len(store.claim("w", ("rollout",), 1, store.now(), 60)) == 1


def test_a_lost_worker_is_bounded_apart_from_failures(store: Store, kit: Any, clock: Any) -> None:
    run = store.create_run(kit.spec.model_copy(update={"max_attempts": 1}), kit.rows(1))
    for n in range(WORKER_LOST_ATTEMPTS):
        assert [each.attempt for each in claim(store)] == [n + 1]
        clock.now += LEASE + 1
        store.reap_expired(clock.now)
    assert store.accounts(run.id) == Accounts(submitted=1, failed={"worker_lost": 1})
    (rollout,) = store.rollouts(run=run.id).items
    assert rollout.error == "worker w1 has not been heard of since 1970-01-12 14:05:59 UTC (lease ran out)"


def test_a_renewed_lease_is_not_reaped(store: Store, kit: Any, clock: Any) -> None:
    store.create_run(kit.spec, kit.rows(2))
    kept, lost = claim(store, 2)
    clock.now += LEASE - 1
    assert store.renew([kept], clock.now, LEASE) == {}
    clock.now += 2
    assert store.reap_expired(clock.now) == (lost.job,)
    assert store.renew([kept, lost], clock.now, LEASE) == {lost: "lost"}


@pytest.mark.parametrize("hour", [3600.0, -3600.0])
def test_a_clock_that_jumps_an_hour_loses_nobody(store: Store, kit: Any, clock: Any, hour: float) -> None:
    run = store.create_run(kit.spec, kit.rows(3))
    broken, mine, silent = claim(store, 3)
    store.fail(broken, "sandbox_error", "no engine")
    clock.now += hour
    store.settle_clock(clock.now, LEASE)
    assert store.reap_expired(clock.now) == ()
    assert store.finish(mine, kit.trajectory(store, mine)) == "applied"
    clock.now += LEASE + 1
    assert store.reap_expired(clock.now) == (silent.job,)
    assert sorted(ids(claim(store, 9))) == sorted([broken.job, silent.job])
    assert store.accounts(run.id) == Accounts(submitted=3, running=2, succeeded=1)


def test_a_released_rollout_is_claimed_at_once_and_costs_no_allowance(store: Store, kit: Any) -> None:
    store.create_run(kit.spec.model_copy(update={"max_attempts": 1}), kit.rows(1))
    for n in range(1, 4):
        (mine,) = claim(store)
        assert (mine.attempt, store.release(mine)) == (n, "applied")
    assert [a.outcome for a in store.rollout(mine.job).attempts] == ["released"] * 3


def test_jobs_of_other_kinds_go_the_same_way(store: Store) -> None:
    job = store.enqueue("compile_shard", {"compilation": "comp_1"})
    assert store.claim("w", ["rollout"], 9, store.now(), LEASE) == ()
    (mine,) = store.claim("w", ["compile_shard", "eval"], 9, store.now(), LEASE)
    assert (mine.job, mine.payload) == (job.id, {"compilation": "comp_1"})
    assert store.finish(mine, result={"examples": 3}) == "applied"
    assert (store.job(job.id).state, store.job(job.id).result) == ("succeeded", {"examples": 3})


def test_a_run_finishes_when_it_is_sealed_and_done(store: Store, kit: Any) -> None:
    run = store.create_run(kit.spec, kit.rows(1), sealed=False)
    (mine,) = claim(store)
    store.finish(mine, kit.trajectory(store, mine))
    assert store.run(run.id).finished is None
    assert store.seal(run.id).finished == store.now()
    assert [event.kind for event in store.events()] == [
        "run.created",
        "rollout.running",
        "rollout.succeeded",
        "run.sealed",
        "run.finished",
    ]


def test_two_processes_that_claim_at_once_never_share_a_job(url: str, blobs: BlobStore, kit: Any) -> None:
    with Store.open(url, blobs) as store:
        run = store.create_run(RunSpec(environment="echo", model="m", samples=20), kit.rows(20))
        program = """
import sys
from envs.blobs import MemoryBlobs
from rollout.store import Store
store = Store.open(sys.argv[1], MemoryBlobs())
sys.stdin.readline()
while claims := store.claim(sys.argv[2], ["rollout"], 7, store.now(), 60):
    print(*(claim.job for claim in claims), sep="\\n")
"""
        workers = [
            subprocess.Popen(
                [sys.executable, "-c", program, url, f"w{n}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            for n in range(3)
        ]
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()
        taken = [worker.communicate(timeout=300)[0].split() for worker in workers]
        assert sorted(job for jobs in taken for job in jobs) == sorted(
            r.id for r in store.rollouts(run=run.id, limit=500).items
        )
        assert store.accounts(run.id) == Accounts(submitted=400, running=400)
