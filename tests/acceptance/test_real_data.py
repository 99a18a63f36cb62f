"""Real questions, databases and code, through the whole of trajc: queue, rollouts, compilation, verification.

Nobody here wrote the questions, the passages, the tables or the packages. The oracle drives.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.needs("realdata", "docker", "network"), pytest.mark.timeout(1700)]

PACKAGE = "inflection"
QUESTIONS = 100
SPIDER = 120
BUGS = 3


def write(path: Path, rows: Iterator[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def hotpot(realdata: Path) -> Iterator[dict[str, Any]]:
    for line in (realdata / "search" / "questions.jsonl").open():
        q = json.loads(line)
        yield {
            "id": q["id"],
            "environment": "search",
            "question": q["question"],
            "world": {"corpus": "hotpot"},
            "reference": {"answers": q["answers"], "gold_docs": q["gold_docs"]},
        }


def spider(realdata: Path) -> Iterator[dict[str, Any]]:
    """Questions of a file in which some gold queries do not run: those are told by line, and left out."""
    for line in (realdata / "sql" / "questions.jsonl").open():
        q = json.loads(line)
        yield {
            "id": f"spider-{q['id']}",
            "environment": "sql",
            "question": q["question"],
            "world": {"database": q["db"]},
            "dialect": q["gold_dialect"],
            "group": q["db"],
            "reference": {"gold_sql": q["gold_sql"]},
        }


def runnable(trajc: Any, path: Path, most: int) -> Path:
    """The tasks that `trajc tasks validate` finds no fault with, `most` of them."""
    told = trajc.json("tasks", "validate", path, code=None)
    faulty = {fault["line"] for fault in told["faults"]}
    lines = path.read_text().splitlines(keepends=True)
    good = [line for number, line in enumerate(lines, 1) if number not in faulty]
    assert told["tasks"] == len(good)
    # Two in three run as they are, nine in ten after transpiling.
    assert len(good) >= 0.85 * len(lines), told["faults"][:5]
    path.write_text("".join(good[:most]))
    return path


def test_real_tasks_become_a_verified_dataset_of_the_same_bytes_twice(
    new_trajc: Callable, realdata: Path, tmp_path: Path
) -> None:
    trajc = new_trajc()
    trajc("tasks", "index", "hotpot", realdata / "search" / "corpus.jsonl")
    for database in sorted((realdata / "sql" / "db").iterdir()):
        trajc("tasks", "load-db", database.name, database)
    trajc("tasks", "make-swe", PACKAGE, "--count", str(BUGS), "--out", tmp_path / "swe.jsonl")
    files = {
        "search": write(tmp_path / "search.jsonl", hotpot(realdata)),
        "sql": runnable(trajc, write(tmp_path / "sql.jsonl", spider(realdata)), SPIDER),
        "swe": tmp_path / "swe.jsonl",
    }
    wanted = {"search": QUESTIONS, "sql": SPIDER, "swe": BUGS}
    with trajc.serving(concurrency="8"), trajc.oracle(*files.values()) as endpoint:
        runs = {
            env: trajc.json("run", path, "--env", env, "--model", "oracle", "--base-url", endpoint)
            for env, path in files.items()
        }
        for env, run in runs.items():
            accounts = run["accounts"]
            assert (accounts["submitted"], accounts["succeeded"], accounts["closes"]) == (
                wanted[env],
                wanted[env],
                True,
            )

        ids = [run["id"] for run in runs.values()]
        compiled = trajc.json("compile", *ids, "--name", "real", "--include-oracle")
        accounts = compiled["accounts"]
        assert accounts["selected"] == sum(wanted.values())
        assert accounts["selected"] == accounts["yielded"] + sum(accounts["trajectories_dropped"].values())
        assert accounts["built"] == accounts["published"] + sum(accounts["examples_dropped"].values())
        published = trajc.get(f"/v1/datasets/real/versions/{compiled['version']}")["manifest"]["statistics"]["examples"]
        assert published["search_agent"] >= 90
        assert published["sql_agent"] >= 0.6 * SPIDER  # answers of no row or more than 20 rows are dropped, and counted
        assert published["swe_agent"] == BUGS

        told = trajc.json("verify", "real")
        assert told["faults"] == []
        assert told["examples"] == accounts["published"]

        # The same recipe, rows and seed give the same bytes: the version is named by them.
        shutil.rmtree(trajc.home / "datasets" / "real")
        again = trajc.json("compile", *ids, "--name", "real", "--include-oracle")
        assert again["version"] == compiled["version"]
        pulled = tmp_path / compiled["version"]
        trajc("pull", "real", "--out", pulled)
        assert trajc.json("verify", pulled)["faults"] == []
