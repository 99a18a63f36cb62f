"""Jobs under ids of what they are to do: each is done once, and what it has kept outlives its worker."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from rollout.database import Conflict
from rollout.runs import RunSpec
from rollout.store import Store


def test_a_job_that_is_ordered_again_is_not_done_again(store: Store) -> None:
    store.order("generation", {"gen_a": {"n": 1}, "gen_b": {"n": 2}})
    store.order("generation", {"gen_b": {"n": 9}, "gen_c": {"n": 3}})
    assert [(j.id, j.payload) for j in store.jobs(["gen_c", "gen_b", "gen_x", "gen_a"])] == [
        ("gen_c", {"n": 3}),
        ("gen_b", {"n": 2}),
        ("gen_a", {"n": 1}),
    ]
    for claim in store.claim("w", ["generation"], 9, store.now(), 60):
        store.finish(claim, result={"of": claim.job})
    store.order("generation", {"gen_a": {"n": 1}})
    assert store.claim("w", ["generation"], 9, store.now(), 60) == ()
    assert store.job("gen_a").result == {"of": "gen_a"}


def test_one_that_failed_is_queued_again_as_it_is_ordered_now(store: Store) -> None:
    store.order("generation", {"gen_a": {"url": "old"}})
    (claim,) = store.claim("w", ["generation"], 1, store.now(), 60)
    store.fail(claim, "model_error", "no such model", permanent=True)
    assert store.job("gen_a").state == "failed"
    store.order("generation", {"gen_a": {"url": "new"}})
    (again,) = store.claim("w", ["generation"], 1, store.now(), 60)
    assert (again.attempt, again.payload) == (2, {"url": "new"})


def test_what_an_attempt_has_kept_is_there_for_the_next_and_only_its_holder_can_keep(store: Store) -> None:
    store.order("generation", {"gen_a": {}})
    (first,) = store.claim("w", ["generation"], 1, store.now(), 60)
    assert store.note(first, {"reply": "1"})
    store.fail(first, "sandbox_error", "the scorer broke")
    assert store.job("gen_a").result == {"reply": "1"}
    (second,) = store.claim("w", ["generation"], 1, store.now() + 3600, 60)
    assert not store.note(first, {"reply": "late"})
    assert store.job("gen_a").result == {"reply": "1"}
    assert store.note(second, {"reply": "2"})


def ordered(store: Store, compilation: str, *jobs: str) -> None:
    payloads = {job: {"compilation": compilation} for job in jobs}
    store.order("generation", payloads, compilation=compilation)


def test_a_cancelled_compilation_ends_what_nobody_has_begun_and_orders_nothing_more(store: Store) -> None:
    mine, other = (store.create_compilation({}, "d").id for _ in range(2))
    ordered(store, mine, "gen_a", "gen_b")
    ordered(store, other, "gen_b", "gen_c")
    store.enqueue("compile_shard", {"compilation": mine})
    (step,) = store.claim("w", ["compile_shard"], 1, store.now(), 60)
    (call,) = store.claim("w", ["generation"], 1, store.now(), 60)
    assert call.job == "gen_a"
    assert store.cancel_compilation(mine).state == "cancelled"
    assert [job.state for job in store.jobs(["gen_a", "gen_b", "gen_c"])] == ["running", "cancelled", "queued"]
    assert store.renew([step], store.now(), 60) == {step: "cancelled"}
    assert store.finish(call, result={"reply": "1"}) == "applied"
    with pytest.raises(Conflict, match="has ended"):
        ordered(store, mine, "gen_d")
    ordered(store, other, "gen_a", "gen_b")
    assert [job.state for job in store.jobs(["gen_a", "gen_b"])] == ["succeeded", "queued"]


def test_what_was_ordered_ahead_ends_with_its_run_or_with_its_runs_compilation(store: Store) -> None:
    first, second, third = (store.create_run(RunSpec(environment="e", model="m"), sealed=False).id for _ in range(3))
    for n, run in enumerate((first, second, third)):
        store.order("generation", {f"gen_{n}": {"run": run}})
    store.cancel(first)
    store.cancel_compilation(store.create_compilation({}, "d", run=second).id)
    assert [job.state for job in store.jobs(["gen_0", "gen_1", "gen_2"])] == ["cancelled", "cancelled", "queued"]


def test_of_cancelling_and_publishing_the_first_stands(store: Store) -> None:
    late, early = (store.create_compilation({}, "d").id for _ in range(2))
    placed: list[str] = []
    store.cancel_compilation(late)
    with pytest.raises(Conflict, match="has ended already"):
        store.publish(late, "d", "1" * 40, {}, {"published": 1}, lambda: placed.append("late"))
    assert store.datasets() == ()
    store.publish(early, "d", "2" * 40, {}, {"published": 1}, lambda: placed.append("early"))
    assert placed == ["early"], "files are put where they belong only for who is published"
    assert store.cancel_compilation(early).state == "succeeded"
    assert [v.version for v in store.versions("d")] == ["2" * 40]
    kinds = [e.kind for e in store.events(0) if e.kind.startswith(("compilation.c", "compilation.s", "dataset"))]
    assert kinds == ["compilation.cancelled", "dataset.published", "compilation.succeeded"]


def test_results_are_found_by_where_their_ids_lie(store: Store) -> None:
    store.order("generation", {f"gen_a{n}": {} for n in range(4)})
    claims = {claim.job: claim for claim in store.claim("w", ["generation"], 9, store.now(), 60)}
    store.finish(claims["gen_a1"], result={"reply": "1"})
    store.note(claims["gen_a2"], {"reply": "2"})
    store.finish(claims["gen_a3"], result={"reply": "3"})
    assert store.results("generation", "gen_a0", "gen_a2") == {"gen_a1": {"reply": "1"}, "gen_a2": {"reply": "2"}}


@pytest.mark.parametrize("stop", ["\x00", "\\u0000", "\\\x00"])
def test_a_nul_in_what_one_call_is_asked_with_keeps_no_compilation_and_no_run_from_being_cancelled(
    store: Store, stop: str
) -> None:
    comp = store.create_compilation({}, "d").id
    run = store.create_run(RunSpec(environment="echo", model="m"), sealed=False).id
    mine = {"compilation": comp, "sampling": {"stop": stop}}
    store.order("generation", {"gen_a": mine, "gen_b": {"run": run, "sampling": {"stop": stop}}}, compilation=comp)
    (call,) = store.claim("w", ["generation"], 1, store.now(), 60)
    store.fail(call, "model_error", "refused", permanent=True)
    assert (call.payload, store.failed_call(comp)) == (mine, "model_error: refused")
    store.order("generation", {"gen_a": mine}, compilation=comp)
    assert (store.cancel_compilation(comp).state, store.job("gen_a").state) == ("cancelled", "cancelled")
    assert store.job("gen_b").state == "queued"
    assert (store.cancel(run).cancel_requested, store.job("gen_b").state) == (True, "cancelled")


@pytest.mark.parametrize("new", [True, False], ids=["new", "failed"])
def test_two_compilations_that_order_the_same_at_once_do_not_wait_for_each_other_in_a_circle(
    store: Store, new: bool
) -> None:
    ids = [f"gen_{i:04d}" for i in range(500)]
    if not new:
        store.order("generation", {id: {} for id in ids})
        for claim in store.claim("w", ["generation"], len(ids), store.now(), 60):
            store.fail(claim, "model_error", "no", permanent=True)
    with ThreadPoolExecutor(2) as threads:
        told = [threads.submit(store.order, "generation", {id: {} for id in some}) for some in (ids, ids[::-1])]
    assert [one.exception() for one in told] == [None, None]
