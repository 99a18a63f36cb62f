"""Audits that ask a model, over real HTTP: what was planted is dropped, nothing else, and no call is paid for twice."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.acceptance import patient
from tests.acceptance.fleet import until

DEMO = Path(__file__).parents[2] / "demo" / "search"
TASKS = DEMO / "tasks.jsonl"
KNOWN = ("search-1", "search-4")
SPARE, AWAY = "search-6", "search-7"
"""Of two gold pages one is enough; every call is refused."""


def gold() -> dict[str, tuple[str, ...]]:
    """The heading of each gold page, as it stands in a compiled prompt, by task."""
    tasks = [json.loads(line) for line in TASKS.read_text().splitlines()]
    return {task["id"]: tuple(map(heading, task["reference"]["gold_docs"])) for task in tasks}


def heading(page: str) -> str:
    title = (DEMO / "documents" / page).read_text().splitlines()[0].removeprefix("# ")
    return f"Document: {title}\n"


def planted(path: Path, *, away: bool) -> Path:
    plants: dict[str, Any] = {task: {"needs": pages} for task, pages in gold().items()}
    plants |= {task: {"knows": True} for task in KNOWN}
    plants[SPARE] = {"needs": plants[SPARE]["needs"][:1]}
    if away:
        plants[AWAY] = {"refuses": True}
    path.write_text(json.dumps(plants))
    return path


def recipe(path: Path, run: str, oracle: str, **parts: Any) -> Path:
    audit = {"model": "oracle", "base_urls": [oracle], "samples": 2, "sampling": {"seed": 3}}
    asked = {"closed_book": audit, "necessity": audit}
    whole = {"runs": [run], "include_oracle": True, "search": {"needed": "gold"}, "most_failed": 0.2}
    path.write_text(json.dumps(whole | asked | parts))
    return path


def stats(oracle: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = patient.get(oracle.removesuffix("/v1") + "/stats").json()
    return found


def paid(oracle: str) -> Counter[str]:
    """Completions by task."""
    return Counter({task: n["completions"] for task, n in stats(oracle)["tasks"].items() if n["completions"]})


def drops(trajc: Any, compiled: Mapping[str, Any]) -> dict[str, str]:
    """Reason by task."""
    tasks = {r["trajectory"]: r["task_id"] for r in trajc.rollouts(compiled["recipe"]["runs"][0])}
    path = trajc.home / "datasets" / compiled["dataset"] / compiled["version"] / "drops.jsonl"
    found = map(json.loads, path.read_text().splitlines())
    return {tasks[drop["trajectory"]]: drop["reason"] for drop in found}


def test_what_was_planted_is_dropped_and_what_failed_is_asked_again(served: Any, tmp_path: Path) -> None:
    trajc, run = served.trajc, served.run["id"]
    dropped = {**dict.fromkeys(KNOWN, "closed_book"), SPARE: "spare_pieces"}
    with trajc.oracle(TASKS, "--planted", planted(tmp_path / "away.json", away=True)) as oracle:
        first = trajc.json("compile", recipe(tmp_path / "audited.json", run, oracle))
        once = paid(oracle)
    assert (first["state"], first["error"]) == ("succeeded", "")
    assert drops(trajc, first) == {**dropped, AWAY: "audit_failed"}
    # Two samples of each prompt: without context, the whole, and without each gold page; nothing more where one drops.
    expected = {task: 2 if task in KNOWN else 2 * (2 + len(pages)) for task, pages in gold().items()}
    assert once == {task: n for task, n in expected.items() if task != AWAY}
    version = trajc.home / "datasets" / first["dataset"] / first["version"]
    manifest = json.loads((version / "manifest.json").read_text())
    assert not [path for path in version.rglob("*") if path.is_file() and oracle.encode() in path.read_bytes()]
    assert any("1 of 8 examples are missing because model calls failed" in words for words in manifest["warnings"])
    assert manifest["statistics"]["labels"]["closed_book: not answered (0 of 2)"] == 4
    assert trajc.json("verify", version)["ok"]

    with trajc.oracle(TASKS, "--planted", planted(tmp_path / "back.json", away=False)) as oracle:
        again = trajc.json("compile", recipe(tmp_path / "audited.json", run, oracle))
        assert paid(oracle) == {AWAY: expected[AWAY]}
        assert drops(trajc, again) == dropped
        # Another recipe that asks the same takes it as it is.
        parts = {"formats": ["messages"], "necessity": None, "min_tokens": 10}
        other = trajc.json("compile", recipe(tmp_path / "other.json", run, oracle, **parts))
        assert drops(trajc, other) == dict.fromkeys(KNOWN, "closed_book")
        assert paid(oracle) == {AWAY: expected[AWAY]}


def test_more_failed_calls_than_the_recipe_allows_publish_nothing(served: Any, tmp_path: Path) -> None:
    trajc = served.trajc
    plants = tmp_path / "away.json"
    plants.write_text(json.dumps({task: {"refuses": True} for task in gold()}))
    with trajc.oracle(TASKS, "--planted", plants) as oracle:
        parts = {"closed_book": {"model": "oracle", "base_urls": [oracle], "sampling": {"seed": 99}}}
        done = trajc("compile", recipe(tmp_path / "away-all.json", served.run["id"], oracle, **parts), code=1)
    assert "model calls failed for 8 of 8 examples, more than most_failed = 0.2 of them" in done.stderr
    assert list((trajc.home / "datasets" / "away-all").glob("*")) == []


def test_a_compilation_that_waits_for_a_model_is_cancelled(served: Any, tmp_path: Path) -> None:
    trajc = served.trajc
    with trajc.oracle(TASKS, "--latency", "5") as oracle:
        slow = {"closed_book": {"model": "oracle", "base_urls": [oracle], "samples": 9, "sampling": {"seed": 7}}}
        file = recipe(tmp_path / "slow.json", served.run["id"], oracle, **slow)
        id = trajc.json("compile", file, "--no-wait")["id"]
        until(lambda: paid(oracle).total(), "nothing was asked")
        assert trajc("cancel", id).stdout == f"{id}: cancelled\n"
        folder = trajc.home / "datasets" / "slow"
        until(lambda: not list(folder.glob("*")) and not list(folder.glob(".*")), "its files are still there")
        assert 0 < paid(oracle).total() < 8 * 9
    assert "slow" not in [one["name"] for one in trajc.get("/v1/datasets")["items"]]
    assert trajc("cancel", id).stdout == f"{id}: cancelled\n"
