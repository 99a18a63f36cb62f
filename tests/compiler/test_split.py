"""Train and validation share no repository, no database, no document; and the verifier finds it where they do."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from compiler.recipe import Recipe
from compiler.recipe_split import Split
from compiler.verify import verify

EVERY: Any = ("messages", "ms_swift", "llama_factory", "verl", "tokenised", "agent_sft")
RECIPE = Recipe(formats=EVERY, split=Split(validation=0.25), near_duplicates=None)


def search(world: Any, n: int, *pages: str, listed: tuple[str, ...] = ()) -> Any:
    """Visits these pages, of which the first is gold."""
    texts = [(page, f"Page {page} tells of things that only it tells of.") for page in pages]
    found = [(page, f"Page {page} tells of things that only it tells of.") for page in listed]
    return grouped(world.search(f"s{n}", f"Question {n}?", opened=texts, listed=found, gold=pages[:1]), "")


def rows(published: Any) -> list[dict[str, Any]]:
    return list(pq.read_table(published.path / "canonical").to_pylist())


def grouped(candidate: Any, group: str, **more: str) -> Any:
    task = candidate.trajectory.task.model_copy(update={"group": group, **more})
    return candidate.model_copy(update={"trajectory": candidate.trajectory.model_copy(update={"task": task})})


@pytest.fixture
def mixed(world: Any) -> list[Any]:
    """Search examples that share a page in pairs, four repositories, four databases."""
    found = [search(world, n, f"p{n // 2}", f"own{n}") for n in range(16)]
    found += [grouped(world.swe(f"w{n}"), f"repository{n % 4}", question=f"Wrong, {n}") for n in range(8)]
    found += [grouped(world.sql(f"q{n}"), f"database{n % 4}", question=f"How many, {n}?") for n in range(8)]
    return found


def test_no_group_and_no_document_is_on_both_sides(compiled: Any, mixed: list[Any], world: Any) -> None:
    published = compiled(*mixed, recipe=RECIPE)
    sides: dict[str, set[str]] = defaultdict(set)
    counts: dict[tuple[str, str], int] = defaultdict(int)
    for row in rows(published):
        counts[row["config"], row["split"]] += 1
        held = [p["blob"] for p in row["pieces"]] if row["config"] == "search_agent" else [row["group"]]
        for one in held:
            sides[f"{row['config']} {one}"].add(row["split"])
    assert all(len(on) == 1 for on in sides.values())
    assert counts == {
        ("search_agent", "train"): 12,
        ("search_agent", "validation"): 4,
        ("sql_agent", "train"): 6,
        ("sql_agent", "validation"): 2,
        ("swe_agent", "train"): 6,
        ("swe_agent", "validation"): 2,
    }
    assert published.manifest["splits"]["search_agent"] == {
        "train": 12,
        "validation": 4,
        "wanted": 4,
        "clusters": 8,
        "largest": 2,
    }
    assert "| search_agent | 12 | 4 | 8 | 2 |" in (published.path / "README.md").read_text()
    assert verify(published.path, world.blobs).faults == ()


def test_every_format_has_both_splits(
    compiled: Any, mixed: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    published = compiled(*mixed, recipe=RECIPE)
    cache = str(tmp_path / "cache")
    for config, (train, validation) in {"search_agent": (12, 4), "sql_agent": (6, 2), "swe_agent": (6, 2)}.items():
        loaded = datasets.load_dataset(str(published.path), config, cache_dir=cache)
        assert {split: len(part) for split, part in loaded.items()} == {"train": train, "validation": validation}
    for folder in ("canonical", *EVERY):
        loaded = datasets.load_dataset(str(published.path / folder), cache_dir=cache)
        assert {split: len(part) for split, part in loaded.items()} == {"train": 24, "validation": 8}, folder
    info = json.loads((published.path / "llama_factory" / "dataset_info.json").read_text())
    assert {entry["file_name"] for entry in info.values()} == {
        f"{config}-{split}.jsonl"
        for config in ("search_agent", "sql_agent", "swe_agent")
        for split in ("train", "validation")
    }


def test_the_split_depends_on_seed_and_rows_alone(compiled: Any, mixed: list[Any]) -> None:
    assert compiled(*mixed, recipe=RECIPE).version == compiled(*reversed(mixed), recipe=RECIPE).version
    validation = [
        {
            r["task"]
            for r in rows(compiled(*mixed, recipe=RECIPE.model_copy(update={"seed": seed})))
            if r["split"] != "train"
        }
        for seed in range(3)
    ]
    assert validation[0] != validation[1] or validation[1] != validation[2]


def test_two_samples_of_one_question_and_one_group_stay_together(compiled: Any, world: Any) -> None:
    again = [grouped(search(world, n, f"p{n}"), "", id=f"t{n // 4}", question=f"Question {n // 4}?") for n in range(16)]
    family = [grouped(search(world, n, f"p{n}"), f"family {n // 4}") for n in range(16)]
    for candidates in (again, family):
        published = compiled(*candidates, recipe=RECIPE)
        assert published.manifest["splits"]["search_agent"] == {
            "train": 12,
            "validation": 4,
            "wanted": 4,
            "clusters": 4,
            "largest": 4,
        }


def test_one_cluster_of_nearly_everything_is_train_and_says_so(compiled: Any, world: Any) -> None:
    """Eleven of twelve searches list the same page: documents that stand in both hold them together."""
    found = [search(world, n, f"p{n}", listed=("popular",) if n else ()) for n in range(12)]
    published = compiled(*found, recipe=RECIPE)
    assert published.manifest["splits"]["search_agent"] == {
        "train": 11,
        "validation": 1,
        "wanted": 3,
        "clusters": 2,
        "largest": 11,
    }
    (_, words) = published.manifest["warnings"]
    assert words == (
        "search_agent: validation has 1 of 3 wanted examples: of 12, 11 hang together by what they share, "
        "and stand on one side"
    )
    assert words in (published.path / "README.md").read_text()
    needed = RECIPE.model_copy(update={"split": Split(validation=0.25, documents="needed")})
    assert compiled(*found, recipe=needed).manifest["splits"]["search_agent"]["validation"] == 3


def test_what_all_share_leaves_validation_empty(compiled: Any, world: Any, tmp_path: Path) -> None:
    published = compiled(*[search(world, n, "p") for n in range(4)], recipe=RECIPE)
    assert published.manifest["splits"]["search_agent"]["validation"] == 0
    loaded = datasets.load_dataset(str(published.path), "search_agent", cache_dir=str(tmp_path / "cache"))
    assert list(loaded) == ["train"]
    assert verify(published.path, world.blobs).faults == ()


@pytest.mark.parametrize(
    ("planted", "fault"),
    [
        ({"group": "repository0"}, "its group repository0 stands in train and in validation"),
        ({"split": "train"}, "its split is train, and it stands in the files of validation"),
    ],
)
def test_the_verifier_finds_what_stands_on_both_sides(
    compiled: Any, world: Any, planted: dict[str, str], fault: str
) -> None:
    found = [grouped(world.swe(f"w{n}"), f"repository{n}", question=f"Wrong, {n}") for n in range(4)]
    recipe = RECIPE.model_copy(update={"formats": ()})
    published = compiled(*found, recipe=recipe)
    path = published.path / "canonical" / "swe_agent-validation-00000.parquet"
    table = pq.read_table(path)
    (row,) = table.to_pylist()
    if row["group"] == "repository0":
        planted = {key: value.replace("repository0", "repository1") for key, value in planted.items()}
        fault = fault.replace("repository0", "repository1")
    pq.write_table(pa.Table.from_pylist([row | planted], schema=table.schema), path)
    assert [f.what for f in verify(published.path, world.blobs).faults if "sha256" not in f.what] == [fault]


def test_the_verifier_finds_a_shared_page(compiled: Any, world: Any) -> None:
    published = compiled(*[search(world, n, f"p{n}") for n in range(4)], recipe=RECIPE)
    sides = {
        split: pq.read_table(published.path / "canonical" / f"search_agent-{split}-00000.parquet")
        for split in ("train", "validation")
    }
    page = sides["train"].to_pylist()[0]["pieces"][0]["blob"]
    (row,) = sides["validation"].to_pylist()
    row["pieces"][0]["blob"] = page
    path = published.path / "canonical" / "search_agent-validation-00000.parquet"
    pq.write_table(pa.Table.from_pylist([row], schema=sides["train"].schema), path)
    assert f"its document {page} stands in train and in validation" in [
        f.what for f in verify(published.path, world.blobs).faults
    ]
