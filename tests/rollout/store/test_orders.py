"""Jobs under ids of what they are to do: each is done once, and what it has kept outlives its worker."""

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
