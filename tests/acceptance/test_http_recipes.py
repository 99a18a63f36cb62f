"""Recipes over real HTTP: a run that names one is compiled while it goes on; a split one is read as train and
validation; what a version is worth is said by the command."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance import patient
from tests.acceptance.fleet import inline, until

DEMO = Path(__file__).parents[2] / "demo"


def rendered(served: Any) -> int:
    with sqlite3.connect(served.trajc.home / "datasets" / ".renderings.sqlite", timeout=120) as db:
        return int(db.execute("SELECT count(*) FROM renderings").fetchone()[0])


def test_a_run_that_names_a_recipe_is_compiled_as_its_rollouts_finish(served: Any) -> None:
    tasks, url = inline(DEMO / "search" / "tasks.jsonl"), served.trajc.url
    recipe = {"include_oracle": True, "seed": 11, "chat_template": "none", "tokenizer": str(tokenizer(served))}
    before = rendered(served)
    wanted = {"environment": "search", "model": "oracle", "base_urls": [served.oracle], "name": "as-they-finish"}
    queued = patient.post(f"{url}/v1/runs", json=wanted | {"recipe": recipe, "open": True, "tasks": tasks[:5]})
    run = queued.raise_for_status().json()
    until(lambda: rendered(served) > before, "nothing was done ahead")
    stands = served.trajc.get(f"/v1/runs/{run['id']}")
    assert (stands["done"], stands["accounts"]["submitted"]) == (False, 5)
    assert "as-they-finish" not in [d["name"] for d in served.trajc.get("/v1/datasets")["items"]]

    lines = "".join(json.dumps(task) + "\n" for task in tasks[5:])
    patient.post(f"{url}/v1/runs/{run['id']}/tasks", content=lines).raise_for_status()
    patient.post(f"{url}/v1/runs/{run['id']}/seal").raise_for_status()
    until(lambda: patient.get(f"{url}/v1/datasets/as-they-finish").status_code == 200, "no version")
    made = served.trajc.get("/v1/datasets/as-they-finish")["latest"]

    path = served.trajc.home / "again.json"
    path.write_text(json.dumps(recipe | {"runs": [run["id"]]}))
    again = served.trajc.json("compile", path, "--name", "as-they-finish")
    assert again["accounts"]["published"] == len(tasks)
    assert again["version"] == made


def tokenizer(served: Any) -> Path:
    """One of this test's own, so that nothing is known of its counts."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    made = Tokenizer(WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    made.pre_tokenizer = Whitespace()
    path = served.trajc.home / "words.json"
    made.save(str(path))
    return Path(path)


def test_a_split_version_says_what_it_is_and_is_read_as_train_and_validation(
    served: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    recipe = tmp_path / "halves.yaml"
    recipe.write_text(
        f"runs: [{served.run['id']}]\ninclude_oracle: true\nsplit: {{validation: 0.4, documents: needed}}\n"
        "search: {distractors: none}\nformats: [messages]\n"
    )
    done = served.trajc("compile", recipe, "--json")
    assert "warning: target: answer_only" in done.stderr
    served.trajc("pull", "halves", "--out", tmp_path / "pulled")
    (manifest,) = (tmp_path / "pulled").rglob("manifest.json")
    side = json.loads(manifest.read_text())["splits"]["search_agent"]
    loaded = datasets.load_dataset(str(manifest.parent), "search_agent", cache_dir=str(tmp_path / "cache"))
    assert {split: len(rows) for split, rows in loaded.items()} == {
        split: side[split] for split in ("train", "validation") if side[split]
    }
    assert side["train"] + side["validation"] == len(inline(DEMO / "search" / "tasks.jsonl"))
    said = f"warning: search_agent: validation has {side['validation']} of {side['wanted']} wanted examples"
    assert (said in done.stderr) is (2 * side["validation"] < side["wanted"])
    served.trajc("verify", "halves")
