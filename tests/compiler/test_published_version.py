"""A dataset version: what stands in it, that it is read by `datasets`, and that its bytes depend on nothing else."""

import json
from pathlib import Path
from typing import Any

import datasets
import pyarrow.parquet as pq
import pytest

from compiler.recipe import Recipe

SEARCH_PROMPT = """\
Question: In which year was the lighthouse of Orrin lit first?

"""


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def mixed(world: Any) -> list[Any]:
    return [
        world.search(),
        world.swe(inspected=[world.file("pkg/shape.py", b"edited", b"from pkg.area import area\n")]),
        world.sql(),
        world.search("s2", question="Wrongly answered?", score=world.wrong),
    ]


def test_each_agent_has_the_released_columns(compiled: Any, mixed: list[Any]) -> None:
    published = compiled(*mixed)
    assert published.examples == {"search_agent": 1, "sql_agent": 1, "swe_agent": 1}
    for config, answer in {"search_agent": "in spring 1872", "sql_agent": "[[2]]"}.items():
        (row,) = lines(published.path / f"{config}_data.jsonl")
        assert list(row) == ["dialogs", "ground_truth_answer", "context_length"]
        assert [m["role"] for m in row["dialogs"]] == ["user", "assistant"]
        assert row["dialogs"][1]["content"] == row["ground_truth_answer"] == answer
        assert row["context_length"] == "1k"


def test_the_prompt_holds_visited_pages_and_unvisited_results_once_each(compiled: Any, world: Any) -> None:
    published = compiled(world.search())
    (row,) = lines(published.path / "search_agent_data.jsonl")
    prompt = row["dialogs"][0]["content"]
    assert SEARCH_PROMPT in prompt
    pieces = pq.read_table(published.path / "canonical").to_pylist()[0]["pieces"]
    assert sorted((p["source"], p["role"]) for p in pieces) == [
        ("boats", "distractor"),
        ("gulls", "distractor"),
        ("light", "needed"),
        ("orrin", "needed"),
    ]
    for piece in pieces:
        text = prompt.encode()[piece["start"] : piece["end"]].decode()
        assert text == f"Document: About {piece['source']}\n{world.blobs.get(piece['blob']).decode()}\n\n"
        assert prompt.count(text) == 1


def test_swe_evidence_is_the_patched_file_before_the_patch(compiled: Any, world: Any) -> None:
    inspected = [
        world.file("pkg/shape.py", b"edited by the agent", b"from pkg.area import area\n"),
        world.file("pkg/area.py", b"def area(w, h):\n    return w * h\n"),
        world.file("repro.py", b"print(1)"),
        world.file("fix.patch", b"--- a"),
    ]
    published = compiled(world.swe(inspected=inspected))
    (row,) = pq.read_table(published.path / "canonical").to_pylist()
    prompt = row["prompt"].encode()
    placed = {(p["source"], p["role"], prompt[p["start"] : p["end"]].decode()) for p in row["pieces"]}
    assert placed == {
        (
            "pkg/area.py",
            "needed",
            "File: pkg/area.py\ndef area(w, h):\n    return w + h\n\nEnd of file: pkg/area.py\n\n",
        ),
        (
            "pkg/shape.py",
            "distractor",
            "File: pkg/shape.py\nfrom pkg.area import area\n\nEnd of file: pkg/shape.py\n\n",
        ),
    }
    assert json.loads(row["left_out"]) == {"leaking_file": 1, "made_by_agent": 1}


def test_sql_evidence_is_whole_tables(compiled: Any, world: Any) -> None:
    published = compiled(world.sql())
    (row,) = pq.read_table(published.path / "canonical").to_pylist()
    (piece,) = row["pieces"]
    placed = row["prompt"].encode()[piece["start"] : piece["end"]].decode()
    assert placed == 'Table: ferry\nColumns: id INTEGER, name VARCHAR\n[1,"Alma"]\n[2,"Bror"]\n\n'


def test_every_config_is_read_by_datasets(
    compiled: Any, mixed: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    published = compiled(*mixed)
    for config in published.examples:
        loaded = datasets.load_dataset(str(published.path), config, cache_dir=str(tmp_path / "cache"), split="train")
        assert loaded.num_rows == 1
    canonical = str(published.path / "canonical")
    assert datasets.load_dataset(canonical, cache_dir=str(tmp_path / "cache"), split="train").num_rows == 3


def test_the_same_rows_in_any_order_give_the_same_bytes(compiled: Any, mixed: list[Any]) -> None:
    first = compiled(*mixed, at="first")
    second = compiled(*reversed(mixed), at="second")
    assert first.version == second.version
    assert contents(first.path) == contents(second.path)


def test_another_seed_is_another_version(compiled: Any, mixed: list[Any]) -> None:
    assert compiled(*mixed).version != compiled(*mixed, recipe=Recipe(runs=("r",), seed=1)).version


def test_publishing_again_leaves_the_version_alone(compiled: Any, mixed: list[Any]) -> None:
    first, again = compiled(*mixed), compiled(*mixed)
    assert first == again
    assert [p.name for p in first.path.parent.iterdir()] == [first.version]


@pytest.mark.parametrize("lost", ["canonical/search_agent-00000.parquet", "manifest.json", "README.md"])
def test_publishing_again_mends_a_version_that_lost_files(compiled: Any, mixed: list[Any], lost: str) -> None:
    before = compiled(*mixed)
    whole = contents(before.path)
    (before.path / lost).unlink()
    (before.path / "drops.jsonl").write_bytes(b"")
    assert compiled(*mixed).path == before.path
    assert contents(before.path) == whole
    assert [path.name for path in before.path.parent.iterdir()] == [before.version]


def test_a_licence_stands_in_one_cell_of_the_card_whatever_it_says(compiled: Any, world: Any) -> None:
    page = world.document("orrin", "Lit in spring 1872.").model_copy(update={"licence": "CC BY\n4.0 | <b>by</b>"})
    published = compiled(world.search(opened=[], listed=[], extra=[world.step(page)]))
    card = (published.path / "README.md").read_text()
    assert "| licence | pieces |\n|---|---:|\n| CC BY 4.0 \\| &lt;b>by&lt;/b> | 1 |\n" in card


def test_the_accounts_close_and_drops_are_listed(compiled: Any, mixed: list[Any], world: Any) -> None:
    oracle = world.sql("q2")
    oracle = oracle.model_copy(update={"trajectory": oracle.trajectory.model_copy(update={"model": "oracle"})})
    published = compiled(*mixed, oracle, world.search("s3"), world.search("s4", score=None))
    assert published.accounts.model_dump() == {
        "selected": 7,
        "yielded": 4,
        "trajectories_dropped": {"no_score": 1, "not_right": 1, "oracle": 1},
        "built": 4,
        "published": 3,
        "examples_dropped": {"duplicate": 1},
    }
    assert published.accounts.closed
    listed = [(d["stage"], d["reason"], d["trajectory"]) for d in lines(published.path / "drops.jsonl")]
    assert sorted(listed)[1:] == [
        ("trajectory", "no_score", "s4"),
        ("trajectory", "not_right", "s2"),
        ("trajectory", "oracle", "q2"),
    ]
    assert sorted(listed)[0][:2] == ("example", "duplicate")
