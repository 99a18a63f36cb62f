"""The whole service killed in the middle of its work, and started again over the same home folder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.acceptance.fleet import told, until
from tests.acceptance.gate import gate, turns_below

TASKS = Path(__file__).parents[2] / "demo" / "search" / "tasks.jsonl"


def test_a_killed_service_goes_on_where_it_stopped_and_pays_nothing_twice(new_trajc: Callable[[], Any]) -> None:
    """But the one turn of each rollout that was in flight. Dead leases run out before their rollouts go on."""
    trajc = new_trajc()
    trajc("tasks", "index", "halvard", TASKS.parent / "documents")
    with trajc.oracle(TASKS) as oracle, gate(oracle, turns_below(1)) as half_way:
        how = ("--env", "search", "--model", "oracle", "--base-url", half_way.url, "--no-wait")
        with trajc.serving(lease_seconds="6") as running:
            run = trajc.json("run", TASKS, *how)["id"]
            until(lambda: len(half_way.held) == 8, "each waits for its second turn")
            running.kill()
            running.wait()
        half_way.open()
        with trajc.serving(lease_seconds="6"):
            until(lambda: trajc.get(f"/v1/runs/{run}")["done"], "it is not done")
            done = trajc.get(f"/v1/runs/{run}")
            rollouts = list(trajc.rollouts(run))
            marks = [trajc.get(f"/v1/rollouts/{r['id']}/trajectory")["marks"] for r in rollouts]
        paid = told(oracle)["tasks"].values()
    assert done["accounts"] == {
        "submitted": 8,
        "queued": 0,
        "running": 0,
        "succeeded": 8,
        "failed": {},
        "cancelled": 0,
        "closes": True,
    }
    assert [task["repeated"] for task in paid] == [1] * 8, "the turn in flight alone"
    assert [[mark["kind"] for mark in of] for of in marks] == [["resumed"]] * 8
