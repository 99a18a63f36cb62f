"""A teacher behind the durable queue: only right samples become targets, and none is paid for twice."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from api.oracle.chance import Chance
from tests.acceptance import patient
from tests.acceptance.fleet import Process, until
from tests.acceptance.gate import first, gate

TASKS = Path(__file__).parents[2] / "demo" / "search" / "tasks.jsonl"
SAMPLES, SEED, WRONG = 2, 18, 0.3
"""A seed by which two tasks' samples are all wrong."""
IN_FLIGHT = 2


def recipe(run: str, oracle: str, temperature: float) -> str:
    return json.dumps(
        {
            "runs": [run],
            "include_oracle": True,
            "target": "teacher",
            "teacher": {
                "model": "oracle",
                "base_urls": [oracle],
                "samples": SAMPLES,
                "sampling": {"seed": SEED, "temperature": temperature},
            },
            "formats": ["messages"],
            "reasoning_form": "field",
        }
    )


def right_samples() -> dict[str, list[int]]:
    """Of each task, the samples that the oracle does not get wrong on purpose: its own draws, apart from any scorer."""
    tasks = [json.loads(line)["id"] for line in TASKS.read_text().splitlines()]
    return {
        task: [n for n in range(SAMPLES) if not Chance(("0", task, str(SEED + n), "0")).happens(WRONG, "wrong")]
        for task in tasks
    }


def kept(home: Path) -> int:
    """Replies that no process can lose any more."""
    with closing(sqlite3.connect(home / "trajc.db", timeout=120)) as db:
        query = "select count(*) from jobs where kind = 'generation' and json_extract(result, '$.reply') is not null"
        return int(db.execute(query).fetchone()[0])


def ended(trajc: Any, compilation: str) -> bool:
    return trajc.get(f"/v1/compilations/{compilation}")["state"] not in ("queued", "running")


def stats(oracle: str) -> Any:
    return patient.get(oracle.removesuffix("/v1") + "/stats").json()


@pytest.mark.parametrize(("form", "temperature"), [("field", 1.0), ("think", 0.9)])
def test_the_kept_set_is_the_right_ones_exactly(served: Any, tmp_path: Path, form: str, temperature: float) -> None:
    trajc, file = served.trajc, tmp_path / f"taught-{form}.json"
    with trajc.oracle(TASKS, "--wrong", WRONG, "--reasoning", form) as oracle:
        file.write_text(recipe(served.run["id"], oracle, temperature))
        compiled = trajc.json("compile", file)
        again = trajc.json("compile", file)
        paid = stats(oracle)
    assert paid["completions"] == len(paid["conversations"]) == 8 * SAMPLES
    assert again["version"] == compiled["version"]
    expected = {task: right for task, right in right_samples().items() if right}
    assert len(expected) == 6
    assert compiled["accounts"]["trajectories_dropped"] == {"teacher_never_right": 2}
    items = trajc.get(f"/v1/datasets/{compiled['dataset']}/versions/latest/examples")["items"]
    assert {e["task"] for e in items} == set(expected)
    version = trajc.home / "datasets" / compiled["dataset"] / compiled["version"]
    rates = {f"teacher_pass_rate: {len(right)} of {SAMPLES}" for right in expected.values()}
    manifest = json.loads((version / "manifest.json").read_text())
    assert {label for label in manifest["statistics"]["labels"] if "pass_rate" in label} == rates
    assert (manifest["target"], manifest["warnings"], oracle in json.dumps(manifest)) == ("teacher", [], False)
    (lines,) = (version / "messages").rglob("*.jsonl")
    said = [json.loads(line)["messages"][-1] for line in lines.read_text().splitlines()]
    assert all(one["reasoning_content"].startswith("The question is: ") for one in said)
    assert trajc.json("verify", version)["ok"]


def test_a_killed_service_pays_for_no_sample_twice(new_trajc: Callable[[], Any], tmp_path: Path) -> None:
    """But for calls that were in flight, whose answers nobody was there to take."""
    trajc, file = new_trajc(), tmp_path / "taught.json"
    trajc("tasks", "index", "halvard", TASKS.parent / "documents")
    settings = {"concurrency": str(IN_FLIGHT), "lease_seconds": "8"}
    how = ("--env", "search", "--model", "oracle")
    taught = ("--wrong", WRONG, "--reasoning", "field")
    half = SAMPLES * 8 // 2
    with (
        trajc.oracle(TASKS) as solver,
        trajc.oracle(TASKS, *taught) as teacher,
        gate(teacher, first(half)) as half_way,
    ):
        with trajc.serving(**settings) as running:
            run = trajc.json("run", TASKS, *how, "--base-url", solver)["id"]
            file.write_text(recipe(run, half_way.url, 1.0))
            compilation = trajc.json("compile", file, "--no-wait")["id"]
            service = Process(["trajc", "serve"], trajc.environ, trajc.home / "serve.log", running=running)
            service.halt_when(
                lambda: len(half_way.held) == IN_FLIGHT and kept(trajc.home) == half, "half of it is answered and kept"
            )
            known = set(half_way.passed)
            service.kill()
        half_way.open()
        with trajc.serving(**settings):
            until(lambda: ended(trajc, compilation), "the compilation has not ended")
            done = trajc.get(f"/v1/compilations/{compilation}")
        asked = stats(teacher)["conversations"]
    assert (done["state"], done["error"]) == ("succeeded", "")
    assert done["accounts"]["published"] == sum(bool(right) for right in right_samples().values())
    assert len(asked) == 8 * SAMPLES
    assert len(known) == half
    assert {key: asked[key]["completions"] for key in known} == dict.fromkeys(known, 1)
    assert sum(talk["repeated"] for talk in asked.values()) <= IN_FLIGHT
