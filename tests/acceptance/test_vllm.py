"""A real vLLM with a small, weak model drives all three environments: nothing it does may break anything."""

import json
import os
from collections.abc import Callable

import pytest

from demo import HERE as DEMO
from demo import swe_tasks
from rollout.trajectory import Trajectory

pytestmark = [pytest.mark.needs("vllm", "docker"), pytest.mark.timeout(1500)]

ENDS = {"succeeded", "failed", "cancelled"}


def test_a_weak_model_behind_a_real_vllm_ends_every_rollout_in_a_state(new_trajc: Callable) -> None:
    trajc = new_trajc()
    trajc("tasks", "index", "halvard", DEMO / "search" / "documents")
    trajc("tasks", "load-db", "ferries", DEMO / "sql" / "ferries")
    files = {
        "search": DEMO / "search" / "tasks.jsonl",
        "sql": DEMO / "sql" / "tasks.jsonl",
        "swe": swe_tasks(trajc.home),
    }
    with trajc.serving(concurrency="8"):
        runs = {
            env: trajc.json(
                *("run", path, "--env", env, "--model", "smollm2", "--base-url", os.environ["TRAJC_TEST_VLLM"]),
                *("--max-turns", "5", "--sampling", json.dumps({"max_tokens": 96, "return_token_ids": True})),
                code=None,
            )
            for env, path in files.items()
        }
        rollouts = {env: list(trajc.rollouts(run["id"])) for env, run in runs.items()}
        assert {env: len(found) for env, found in rollouts.items()} == {"search": 8, "sql": 8, "swe": 3}
        for env, run in runs.items():
            assert run["accounts"]["closes"], (env, run["accounts"])
            assert {r["state"] for r in rollouts[env]} <= ENDS
            # The model is weak, the machinery is not: whatever it says is a stop reason, none of it a failure.
            assert run["accounts"]["failed"] == {}, (env, [r["error"] for r in rollouts[env]])
        trajectories = [
            Trajectory.model_validate(trajc.get(f"/v1/rollouts/{rollout['id']}/trajectory?format=trajc"))
            for found in rollouts.values()
            for rollout in found
        ]
    assert len(trajectories) == 19
    for trajectory in trajectories:
        assert trajectory.stop is not None
        assert all(call.output_token_ids and call.endpoint for call in trajectory.calls)
        assert [m.role for m in trajectory.messages[:2]] == ["system", "user"]


def test_what_a_weak_teacher_says_is_wrong_and_breaks_nothing(new_trajc: Callable) -> None:
    """Prompts too long for it, replies that are cut off, no rows at all: each is a sample that is not right."""
    trajc = new_trajc()
    trajc("tasks", "load-db", "ferries", DEMO / "sql" / "ferries")
    tasks = DEMO / "sql" / "tasks.jsonl"
    asked = {"model": "smollm2", "base_urls": [os.environ["TRAJC_TEST_VLLM"]], "sampling": {"max_tokens": 40}}
    with trajc.oracle(tasks) as solver, trajc.serving(concurrency="8"):
        run = trajc.json("run", tasks, "--env", "sql", "--model", "oracle", "--base-url", solver)["id"]
        recipe = {"runs": [run], "include_oracle": True, "target": "teacher", "teacher": asked, "closed_book": asked}
        file = trajc.home / "weak.json"
        file.write_text(json.dumps(recipe))
        done = trajc.json("compile", file, code=None)  # 3 where nothing it said was right
        again = trajc.json("compile", file, "--estimate")
    accounts = done["accounts"]
    assert (done["state"], accounts["selected"]) == ("succeeded", 8)
    assert accounts["published"] + sum(accounts["trajectories_dropped"].values()) == 8
    assert set(accounts["trajectories_dropped"]) <= {"teacher_never_right", "closed_book"}
    assert [one["calls"] - one["kept"] for one in again["asked"].values()] == [0, 0]
