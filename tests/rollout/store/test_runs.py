"""Runs: what is queued is queued whole, once, and shows no secret."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from pydantic import ValidationError

from envs.blobs import BlobStore
from envs.errors import TaskError
from envs.task import Limits
from rollout.accounts import Accounts
from rollout.database import Conflict, NotFound
from rollout.runs import RunSpec, TaskRow
from rollout.store import Store


def test_a_run_queues_every_sample_of_every_task(store: Store, kit: Any) -> None:
    spec = kit.spec.model_copy(update={"samples": 2, "name": "first"})
    run = store.create_run(spec, kit.rows(3))
    assert (run.spec, run.state, run.accounts) == (spec, "sealed", Accounts(submitted=6, queued=6))
    rollouts = store.rollouts(run=run.id).items
    assert [(r.task_id, r.sample) for r in rollouts] == [(f"t{i}", s) for i in range(3) for s in range(2)]
    groups = [r.group for r in rollouts]
    assert groups[0] == groups[1] != groups[2] == groups[3]
    work = store.work(rollouts[2].id)
    assert (work.spec, TaskRow(work.task, work.reference)) == (spec, kit.rows(3)[1])


def test_an_empty_sealed_run_is_finished_at_once(store: Store, kit: Any) -> None:
    run = store.create_run(kit.spec)
    assert (run.accounts, run.finished) == (Accounts(), store.now())


def test_limits_of_the_run_replace_those_of_its_tasks(store: Store, kit: Any) -> None:
    limits = Limits(max_turns=3)
    run = store.create_run(kit.spec.model_copy(update={"limits": limits}), kit.rows(1))
    (rollout,) = store.rollouts(run=run.id).items
    task = store.work(rollout.id).task
    assert (task.limits, rollout.task_hash) == (limits, task.hash)


def test_the_same_key_and_request_give_the_same_run(store: Store, kit: Any) -> None:
    first = store.create_run(kit.spec, kit.rows(2), idempotency_key="k")
    assert store.create_run(kit.spec, kit.rows(2), idempotency_key="k") == first
    with pytest.raises(Conflict, match=f"'k' was used for another request .run {first.id}"):
        store.create_run(kit.spec, kit.rows(3), idempotency_key="k")
    assert store.runs().items == (first,)


def test_the_same_key_from_many_threads_at_once_makes_one_run(store: Store, kit: Any) -> None:
    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(lambda _: store.create_run(kit.spec, kit.rows(3), idempotency_key="k").id, range(12)))
    assert (len(set(made)), len(store.runs().items)) == (1, 1)


def test_accounts_close_for_a_reader_while_tasks_come_in(store: Store, kit: Any) -> None:
    run = store.create_run(kit.spec, sealed=False).id
    with ThreadPoolExecutor(2) as pool:
        writing = [pool.submit(lambda: [store.append_tasks(run, kit.rows(40)) for _ in range(10)]) for _ in range(2)]
        while not all(each.done() for each in writing):
            assert store.accounts(run).closes
    assert store.accounts(run) == Accounts(submitted=800, queued=800)


def test_a_task_of_another_environment_queues_nothing(store: Store, kit: Any) -> None:
    good = kit.rows(3)
    bad = TaskRow(good[2].task.model_copy(update={"environment": "sql"}))
    with pytest.raises(TaskError, match="row 3, task 't2': environment is 'sql', the run's is 'echo'"):
        store.create_run(kit.spec, [*good[:2], bad])
    run = store.create_run(kit.spec, sealed=False)
    with pytest.raises(TaskError):
        store.append_tasks(run.id, [*good[:2], bad])
    assert [each.accounts for each in store.runs().items] == [Accounts()]


def test_a_stream_that_breaks_leaves_nothing(store: Store, kit: Any) -> None:
    run = store.create_run(kit.spec, sealed=False)

    def stream() -> Iterator[TaskRow]:
        yield from kit.rows(2500)
        raise ConnectionResetError("the client went away")

    with pytest.raises(ConnectionResetError):
        store.append_tasks(run.id, stream())
    assert store.accounts(run.id) == Accounts()
    assert store.append_tasks(run.id, kit.rows(2500)) == 2500
    assert store.accounts(run.id) == Accounts(submitted=2500, queued=2500)


@pytest.mark.parametrize("seen", [1, 1500])
def test_kill_in_the_middle_of_an_append_leaves_nothing_visible(
    url: str, blobs: BlobStore, kit: Any, seen: int
) -> None:
    with Store.open(url, blobs) as store:
        run = store.create_run(kit.spec, kit.rows(1), sealed=False)
        program = """
import sys
from envs.blobs import MemoryBlobs
from envs.task import Task
from rollout.runs import TaskRow
from rollout.store import Store
def rows():
    for i in range(3000):
        if i == int(sys.argv[3]):
            print("now", flush=True)
            sys.stdin.readline()
        yield TaskRow(Task(id=str(i), environment="echo", question="?"))
Store.open(sys.argv[1], MemoryBlobs()).append_tasks(sys.argv[2], rows())
"""
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        writer = subprocess.Popen([sys.executable, "-c", program, url, run.id, str(seen)], **pipes)
        assert writer.stdout is not None
        assert writer.stdout.readline() == "now\n"
        writer.send_signal(signal.SIGKILL)
        writer.wait(30)
        writer.communicate()
        assert store.accounts(run.id) == Accounts(submitted=1, queued=1)
        assert len(store.rollouts(run=run.id).items) == 1
        assert store.append_tasks(run.id, kit.rows(3)) == 3


def test_a_sealed_run_takes_no_more(store: Store, kit: Any) -> None:
    run = store.create_run(kit.spec, kit.rows(1))
    with pytest.raises(Conflict, match=f"run {run.id} is sealed; make a new run for more tasks"):
        store.append_tasks(run.id, kit.rows(1))


def test_a_run_that_is_sealed_while_tasks_come_in_queues_none_of_them(store: Store, kit: Any) -> None:
    run = store.create_run(kit.spec, sealed=False)

    def stream() -> Iterator[TaskRow]:
        yield from kit.rows(2)
        store.seal(run.id)

    with pytest.raises(Conflict, match="was sealed while its tasks were coming in; nothing was queued"):
        store.append_tasks(run.id, stream())
    assert store.accounts(run.id) == Accounts()


def test_a_cancelled_run_is_not_retried(store: Store, kit: Any) -> None:
    run = store.create_run(kit.spec, kit.rows(1))
    store.cancel(run.id)
    with pytest.raises(Conflict, match="was cancelled; queue its tasks in a new run"):
        store.retry(run.id)


def test_a_cancel_or_pause_that_comes_too_late_keeps_no_failed_rollout_from_being_tried_again(
    store: Store, kit: Any
) -> None:
    run = store.create_run(kit.spec, kit.rows(1)).id
    (claim,) = store.claim("w", ("rollout",), 1, store.now(), 60)
    store.fail(claim, "task_error", "broke")
    done = store.run(run)
    assert (done.accounts.failures, done.finished) == (1, store.now())
    assert store.cancel(run) == store.pause(run) == done
    assert store.retry(run) == 1
    assert store.run(run).accounts.queued == 1


def test_an_unknown_run_names_the_known_ones(store: Store, kit: Any) -> None:
    known = store.create_run(kit.spec)
    for ask in (store.run, store.seal, store.pause, store.resume, store.cancel, store.retry, store.accounts):
        with pytest.raises(NotFound, match=f"no run 'run_x'; known: {known.id}"):
            ask("run_x")
    with pytest.raises(NotFound, match="no run 'run_x'"):
        store.append_tasks("run_x", [])


def test_runs_are_listed_newest_first_page_by_page(store: Store, kit: Any) -> None:
    made = [store.create_run(kit.spec).id for _ in range(5)]
    first = store.runs(limit=2)
    second = store.runs(first.next, limit=2)
    third = store.runs(second.next, limit=2)
    assert [run.id for page in (first, second, third) for run in page.items] == made[::-1]
    assert (third.next, store.runs(limit=5).next) == (None, None)


def test_rollouts_are_filtered_and_paged(store: Store, kit: Any) -> None:
    run = store.create_run(kit.spec, kit.rows(5))
    other = store.create_run(kit.spec, kit.rows(1))
    (failed,) = store.claim("w", ["rollout"], 1, store.now(), 60)
    store.fail(failed, "task_error", "no such document")
    assert [r.id for r in store.rollouts(failure="task_error").items] == [failed.job]
    assert [r.id for r in store.rollouts(run=run.id, status="failed", environment="echo").items] == [failed.job]
    assert store.rollouts(environment="sql").items == ()
    with pytest.raises(NotFound, match="no state of a rollout 'done'; known: queued, running, succeeded"):
        store.rollouts(status="done")  # type: ignore[arg-type]
    paged: list[str] = []
    cursor = None
    while True:
        page = store.rollouts(run=run.id, cursor=cursor, limit=2)
        paged += [r.task_id for r in page.items]
        if (cursor := page.next) is None:
            break
    assert paged == ["t0", "t1", "t2", "t3", "t4"]
    assert len(store.rollouts().items) == 6
    assert store.accounts(other.id) == Accounts(submitted=1, queued=1)


@pytest.mark.parametrize(
    "url", ["http://user:secret@host/v1", "http://host/v1?key=secret", "file:///etc/passwd", "host:8000/v1"]
)
def test_a_spec_refuses_credentials_and_what_is_no_endpoint_without_repeating_them(url: str) -> None:
    with pytest.raises(ValidationError) as refused:
        RunSpec(environment="echo", model="m", base_urls=(url,))
    assert "secret" not in str([error["msg"] for error in refused.value.errors()])
