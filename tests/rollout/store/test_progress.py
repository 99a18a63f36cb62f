"""How runs and endpoints come along, counted in the database over every process."""

from typing import Any

import pytest

from rollout.accounts import Accounts
from rollout.endpoints import EndpointEntry, EndpointState, share
from rollout.model import Reply
from rollout.retry import Trouble
from rollout.store import Store
from rollout.tally import Tally
from rollout.trajectory import Usage


def test_progress_is_counted_from_what_every_process_told(store: Store, kit: Any, clock: Any) -> None:
    run = store.create_run(kit.spec, kit.rows(5)).id
    first, second, third = store.claim("w", ["rollout"], 3, clock.now, 900)
    store.finish(first, kit.trajectory(store, first))
    one, other = Tally("here:1"), Tally("there:2")
    one.told(run, "parrot", "http://a/v1", reply(5, 2))
    tell(store, one)
    clock.now += 100
    store.finish(second, kit.trajectory(store, second))
    store.fail(third, "task_error", "broke", kit.trajectory(store, third, stop=False))
    one.told(run, "parrot", "http://a/v1", reply(7, 3))
    other.told(run, "parrot", "http://a/v1", reply(1, 1))
    other.told(run, "parrot", "http://b/v1", Trouble("server", "http://b/v1 answered 500: no"))
    other.told("", "teacher", "http://b/v1", reply(1000, 1000))
    tell(store, one)
    tell(store, other)
    tell(store, other)  # what was told already is not told again
    progress = store.progress(run, window=10.0)
    assert progress.accounts == Accounts(submitted=5, queued=2, succeeded=2, failed={"task_error": 1})
    assert [(u.endpoint, u.calls, u.failures, u.prompt_tokens, u.completion_tokens) for u in progress.endpoints] == [
        ("http://a/v1", 3, 0, 13, 6),
        ("http://b/v1", 0, 1, 0, 0),
    ]
    assert (progress.calls, progress.prompt_tokens, progress.completion_tokens) == (3, 13, 6)
    assert (progress.rollouts_per_second, progress.seconds_left) == (0.1, 20.0)
    assert progress.completion_tokens_per_second == 4 / 60, "the last minute's alone"
    assert progress.endpoints[1].trouble == "http://b/v1 answered 500: no"
    clock.now += 100
    later = store.progress(run, window=10.0)
    assert (later.seconds_left, later.completion_tokens_per_second, later.calls) == (None, 0.0, 3)


def reply(prompt: int, completion: int) -> Reply:
    usage = Usage(prompt_tokens=prompt, completion_tokens=completion)
    return Reply(None, None, (), "stop", usage, "{}", seconds=0.5)


def tell(store: Store, tally: Tally) -> None:
    store.exchange(tally.worker, tally.changed(store.now()), [], ())


def test_a_run_whose_endpoints_are_all_dead_says_so_while_it_waits(store: Store, kit: Any, clock: Any) -> None:
    run = store.create_run(kit.spec, kit.rows(1)).id
    tally, words = Tally("here:1"), "http://a/v1: connection refused"
    tally.told(run, "parrot", "http://a/v1", Trouble("connection", words))
    state = EndpointState("http://a/v1", "here:1", "failing", 64, 0, 1, words, 0.0)
    store.exchange(tally.worker, tally.changed(store.now()), [state], ())
    assert store.progress(run).reason == f"no endpoint answers: {words}"
    clock.now += 11
    assert store.progress(run).reason == "", "nobody tells of it any more"
    (claim,) = store.claim("w", ["rollout"], 1, clock.now, 900)
    store.fail(claim, "model_error", "no endpoint of parrot answers")
    assert store.progress(run).reason == "model_error: no endpoint of parrot answers"


def test_a_nul_in_a_servers_words_keeps_no_process_from_telling_and_hearing_of_endpoints(store: Store) -> None:
    tally, words = Tally("here:1"), "http://a/v1 answered 500: \x00\x00"
    tally.told("run_1", "parrot", "http://a/v1", Trouble("server", words))
    state = EndpointState("http://a/v1", "here:1", "failing", 64, 0, 1, words, 0.0)
    store.exchange(tally.worker, tally.changed(store.now()), [state], ())
    (use,) = store.endpoint_uses("run_1")
    shown = "http://a/v1 answered 500: \N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}"
    assert (use.failures, use.state, use.trouble) == (1, "failing", shown)


def test_the_totals_of_all_runs_are_counted_together(store: Store, kit: Any, clock: Any) -> None:
    for n in (2, 3):
        store.create_run(kit.spec, kit.rows(n))
    store.enqueue("generation", {})
    first, second = store.claim("w", ["rollout"], 2, clock.now, 900)
    store.finish(first, kit.trajectory(store, first))
    store.fail(second, "task_error", "broke")
    assert store.totals() == (Accounts(submitted=5, queued=3, succeeded=1, failed={"task_error": 1}), 1, 1)


def test_an_endpoint_is_kept_once_and_told_to_every_process(store: Store) -> None:
    store.put_endpoint(EndpointEntry("http://a/v1", slots=8))
    store.put_endpoint(EndpointEntry("http://a/v1", run="run_1", removed=True))
    store.put_endpoint(EndpointEntry("http://a/v1", at_once=4))
    entries, others, _ = store.exchange("here:1", [], [], ())
    assert entries == (
        EndpointEntry("http://a/v1", at_once=4, changed=store.now()),
        EndpointEntry("http://a/v1", run="run_1", removed=True, changed=store.now()),
    )
    assert others == ()


def test_each_process_hears_how_the_others_see_an_endpoint_and_what_they_hold(
    store: Store, kit: Any, clock: Any
) -> None:
    run = store.create_run(kit.spec, kit.rows(3)).id
    store.claim("w1", ["rollout"], 2, clock.now, 900)
    store.claim("w2", ["rollout"], 1, clock.now, 900)
    state = EndpointState("http://a/v1", "here:1", "well", 64, 3, 0, "", 0.0)
    assert store.exchange("here:1", [], [state], [run])[1:] == ((), {run: {"w1": 2, "w2": 1}})
    _, (heard,), _ = store.exchange("there:2", [], [], ())
    assert (heard.worker, heard.in_flight, heard.at) == ("here:1", 3, clock.now)
    clock.now += 11
    assert store.exchange("there:2", [], [], ())[1] == ()


@pytest.mark.parametrize(
    ("bound", "weights", "parts"),
    [
        (10, {"a": 1}, [10]),
        (10, {"a": 1, "b": 1, "c": 1}, [4, 3, 3]),
        (10, {"a": 8, "b": 1, "c": 1}, [8, 1, 1]),
        (2, {"a": 1, "b": 1, "c": 1}, [1, 1, 1]),
        (7, {"a": 0, "b": 5}, [1, 7]),
    ],
)
def test_the_parts_of_a_bound_add_up_to_it_and_are_never_nothing(
    bound: int, weights: dict[str, int], parts: list[int]
) -> None:
    assert [share(bound, weights, name) for name in weights] == parts


def test_a_tally_forgets_what_has_long_been_told_and_counts_on_under_another_name(store: Store, clock: Any) -> None:
    tally = Tally("here:1")
    for _ in range(2):
        tally.told("run_1", "parrot", "http://a/v1", reply(5, 2))
        tell(store, tally)
        clock.now += 3601
        tell(store, tally)
    (use,) = store.endpoint_uses("run_1")
    assert (use.calls, use.prompt_tokens) == (2, 10)


def test_jobs_that_nobody_takes_are_counted_once_they_have_waited(store: Store, kit: Any, clock: Any) -> None:
    run, other = (store.create_run(kit.spec, kit.rows(2)).id for _ in range(2))
    store.order("generation", {"gen_a": {}})
    assert store.untaken("rollout", run) == store.untaken("generation") == 0
    clock.now += 11
    assert (store.untaken("rollout", run), store.untaken("generation"), store.untaken("compile_shard")) == (2, 1, 0)
    (mine,) = store.claim("w", ["rollout"], 1, clock.now, 900)
    assert store.untaken("rollout", other) == 0, "somebody works on rollouts"
    assert store.untaken("generation") == 1
    store.finish(mine, kit.trajectory(store, mine))
    assert store.untaken("rollout", other) == 0, "somebody did a moment ago"
    clock.now += 11
    assert (store.untaken("rollout", run), store.untaken("rollout", other)) == (1, 2)
