"""Endpoints that come and go under worker processes: each of them follows, and nobody moves without need."""

from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from rollout.schema import endpoint_states
from rollout.store import Store
from tests.acceptance import patient
from tests.acceptance.fleet import completions, counting_tasks, fleet, inline, until
from tests.acceptance.gate import gate, turns_below

pytestmark = [pytest.mark.needs("redis"), pytest.mark.timeout(600)]
TURNS = 20
TASKS = 16
LATENCY = 0.4


def asked(base_url: str) -> int:
    return sum(completions(base_url).values())


def followers(store: Store, endpoint: str) -> int:
    """Workers that have told of this endpoint."""
    with store.read() as c:
        told = sa.select(endpoint_states.c.worker).where(endpoint_states.c.endpoint == endpoint).distinct()
        return len(c.execute(told).all())


def test_every_worker_follows_what_is_added_and_removed_and_only_its_own_rollouts_move(tmp_path: Path) -> None:
    with fleet(tmp_path, poll_seconds="4") as it, ExitStack() as stack:
        tasks, recording = counting_tasks(tmp_path, TASKS, TURNS)
        it.redis().up()
        oracles = [
            it.oracle(tasks, "--recording", recording, "--latency", str(LATENCY), name=f"o{i}") for i in range(3)
        ]
        serve, workers = it.serve(), [it.worker(concurrency=TASKS // 2, name=f"w{i}") for i in range(2)]
        for process in (*(oracle for oracle, _ in oracles), serve, *workers):
            process.up()
        half_way = stack.enter_context(gate(oracles[0][1], turns_below(2)))
        a, b, c = half_way.url, oracles[1][1], oracles[2][1]
        for url in (a, b):
            it.post("/v1/endpoints", {"base_url": url})
        run = it.post("/v1/runs", {"environment": "sql", "model": "oracle", "tasks": inline(tasks)})["id"]
        until(lambda: half_way.held and asked(b) > 10, "both are asked")
        patient.delete(it.url + "/v1/endpoints", params={"base_url": a}).raise_for_status()
        it.post("/v1/endpoints", {"base_url": c})
        with it.store() as store:
            until(lambda: followers(store, c) == len(workers), "both know")
            half_way.open()
            until(lambda: store.run(run).finished is not None, "done")
            kept = [found.trajectory for found in store.candidates(runs=[run])]
            owners = Counter(r.attempts[0].worker for r in map(store.rollout, (t.rollout for t in kept)))
        assert (len(kept), len(owners)) == (TASKS, 2)
        moves = [(x.endpoint, y.endpoint) for t in kept for x, y in zip(t.calls, t.calls[1:], strict=False)]
        left = Counter(before for before, after in moves if before != after)
        assert left[a] > 0, "it was left in the middle of rollouts"
        # Where the machine stood still, an endpoint looked slow, and is left for a faster one.
        stood_still = any(call.seconds > 10 * LATENCY for t in kept for call in t.calls if call.endpoint != a)
        assert left[b] <= 2 or stood_still, "and nobody else's rollouts moved, or as good as nobody's"
        assert {t.calls[-1].endpoint for t in kept} <= {b, c}
        paid: Counter[str] = Counter()
        for url in (a, b, c):
            paid.update(completions(url))
        assert set(paid.values()) == {TURNS}
        progress: dict[str, Any] = {}

        def told() -> bool:
            progress.update(it.get(f"/v1/runs/{run}")["progress"])
            return bool(progress["calls"] == TASKS * TURNS)

        until(told, "every call was told")
        assert {use["endpoint"]: use["calls"] for use in progress["endpoints"] if use["calls"]} == {
            url: asked(url) for url in (a, b, c) if asked(url)
        }
        tokens = sum(call.usage.completion_tokens for t in kept for call in t.calls)
        assert progress["completion_tokens"] == tokens
        gone = patient.get(it.url + "/v1/endpoints").json()["items"]
        assert [one["base_url"] for one in gone if one["removed"]] == [a]
