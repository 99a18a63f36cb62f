"""Whatever happens to a queue, in whatever order, its accounts close and no result is doubled."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envs.errors import FailureClass
from rollout.accounts import Accounts
from rollout.runs import Claim
from rollout.store import Store

LEASE = 60.0
FAILURES: tuple[FailureClass, ...] = ("model_error", "sandbox_error", "environment_error", "task_error")

operation = st.one_of(
    st.tuples(
        st.sampled_from(["claim", "finish", "release", "cancel_rollout", "append", "retry", "renew"]), st.integers(0, 9)
    ),
    st.tuples(st.just("fail"), st.integers(0, 9), st.sampled_from(FAILURES)),
    st.tuples(st.just("wait"), st.sampled_from([1, 20, 61, 700])),
    st.tuples(st.sampled_from(["reap", "pause", "resume", "seal", "jump"])),
    st.tuples(st.just("cancel"), st.just(0)),
)


def test_accounts_that_do_not_add_up_do_not_close() -> None:
    assert Accounts(submitted=3, queued=1, succeeded=1, failed={"model_error": 1}).closes
    assert not Accounts(submitted=4, queued=1, succeeded=1, failed={"model_error": 1}).closes


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(operation, max_size=40))
def test_accounts_close_after_every_operation(store: Store, kit: Any, clock: Any, operations: list[Any]) -> None:
    run = store.create_run(kit.spec, kit.rows(4), sealed=False).id
    held: list[Claim] = []
    told: dict[str, str] = {}
    for name, *rest in operations:
        which = rest[0] if rest else 0
        mine = held[which % len(held)] if held else None
        rollouts = store.rollouts(run=run).items
        match name:
            case "claim":
                held += store.claim(f"w{which % 2}", ["rollout"], which % 3 + 1, clock.now, LEASE)
            case "finish" if mine:
                made = kit.trajectory(store, mine)
                if store.finish(mine, made, kit.right) == "applied":
                    assert told.setdefault(mine.job, made.id) == made.id, "a second result was taken"
            case "fail" if mine:
                store.fail(mine, rest[1], "broke", kit.trajectory(store, mine, stop=False))
            case "release" if mine:
                store.release(mine)
            case "renew":
                store.renew(held, clock.now, LEASE)
            case "reap":
                store.reap_expired(clock.now)
            case "wait":
                clock.now += which
            case "jump":
                clock.now -= 3600
                store.settle_clock(clock.now, LEASE)
            case "cancel_rollout":
                store.cancel_rollout(rollouts[which % len(rollouts)].id)
            case "append" if not store.run(run).sealed:
                store.append_tasks(run, kit.rows(2, start=which * 2))
            case "retry" if not store.run(run).cancel_requested:
                store.retry(run, FAILURES[: which % 4])
            case "pause" | "resume" | "seal" | "cancel":
                getattr(store, name)(run)
        accounts = store.accounts(run)
        rollouts = store.rollouts(run=run, limit=500).items
        assert accounts.closes
        assert accounts.submitted == len(rollouts)
        assert {r.id: r.trajectory for r in rollouts if r.state == "succeeded"} == told
        assert {r.id for r in rollouts if r.worker} == {r.id for r in rollouts if r.state == "running"}
    whole = store.trajectories(runs=[run], limit=500).items
    assert {row.rollout: row.id for row in whole} == told
    store.cancel(run)
    assert store.run(run).finished is not None
