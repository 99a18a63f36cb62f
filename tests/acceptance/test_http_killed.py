"""The whole service killed in the middle of its work, and started again over the same home folder."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

TASKS = Path(__file__).parents[2] / "demo" / "search" / "tasks.jsonl"


def test_a_killed_service_goes_on_where_it_stopped_and_pays_nothing_twice(new_trajc: Callable[[], Any]) -> None:
    """But the one turn of each rollout that was in flight. Dead leases run out before their rollouts go on."""
    trajc = new_trajc()
    trajc("tasks", "index", "halvard", TASKS.parent / "documents")
    with trajc.oracle(TASKS, "--latency", "1") as oracle:
        how = ("--env", "search", "--model", "oracle", "--base-url", oracle, "--no-wait")
        with trajc.serving(lease_seconds="6") as running:
            run = trajc.json("run", TASKS, *how)["id"]
            while httpx.get(oracle.removesuffix("/v1") + "/stats").json()["completions"] < 12:
                time.sleep(0.05)
            running.kill()
            running.wait()
        with trajc.serving(lease_seconds="6"):
            for _ in range(3000):
                done = trajc.get(f"/v1/runs/{run}")
                if done["done"]:
                    break
                time.sleep(0.1)
            rollouts = list(trajc.rollouts(run))
            marks = [trajc.get(f"/v1/rollouts/{r['id']}/trajectory")["marks"] for r in rollouts]
        paid = httpx.get(oracle.removesuffix("/v1") + "/stats").json()["tasks"].values()
    assert done["accounts"] == {
        "submitted": 8,
        "queued": 0,
        "running": 0,
        "succeeded": 8,
        "failed": {},
        "cancelled": 0,
        "closes": True,
    }
    assert all(task["repeated"] <= 1 for task in paid)
    assert any(mark["kind"] == "resumed" for of in marks for mark in of)
