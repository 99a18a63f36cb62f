"""Every format holds the same examples; the verifier reads each and finds what is wrong in it."""

import json
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from compiler.formats.tokenised import Packs
from compiler.recipe import Format, Recipe
from compiler.tokens import load_tokenizer
from compiler.verify import verify
from rollout.trajectory import Message, ToolCall

FORMATS: tuple[Format, ...] = ("acc", "messages", "ms_swift", "llama_factory", "verl", "tokenised", "agent_sft")
ARGUMENTS = '{"query": "Orrin \\u00e9", "n": 1.0, "big": 12345678901234567890, "broken": '


@pytest.fixture
def published(compiled: Any, world: Any) -> Any:
    first = world.search()
    call = ToolCall(id="c1", name="search", arguments=ARGUMENTS)
    turns = (
        Message(role="system", content="Find it."),
        Message(role="user", content="When?"),
        Message(role="assistant", content=None, reasoning="Hm.", tool_calls=(call,)),
        Message(role="tool", content="Orrin", tool_call_id="c1"),
        Message(role="assistant", content="Answer: in spring 1872"),
    )
    first = first.model_copy(update={"trajectory": first.trajectory.model_copy(update={"messages": turns})})
    return compiled(first, world.search("s2", "Another question?"), world.sql(), recipe=Recipe(formats=FORMATS))


def test_every_format_is_verified(published: Any, world: Any) -> None:
    assert verify(published.path, world.blobs).faults == ()


@pytest.mark.parametrize("name", ["messages", "ms_swift", "llama_factory", "verl", "tokenised", "agent_sft"])
def test_every_format_is_read_by_datasets(
    published: Any, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    (file,) = (published.path / name).glob("search_agent*")
    loaded = datasets.load_dataset(
        str(published.path / name), data_files=file.name, cache_dir=str(tmp_path / "cache"), split="train"
    )
    assert loaded.num_rows == 2


def test_the_loss_is_on_the_answer_and_its_end_alone(published: Any) -> None:
    (row,) = pq.read_table(published.path / "tokenised" / "sql_agent-00000.parquet").to_pylist()
    tokenizer = load_tokenizer("qwen3")
    assert tokenizer.decode([i for i in row["labels"] if i != -100]) == "[[2]]<|im_end|>"
    assert tokenizer.decode(row["input_ids"]).endswith("<|im_start|>assistant\n[[2]]<|im_end|>\n")
    assert row["length"] == published.manifest["statistics"]["tokens"]["sql_agent"]


def test_tool_arguments_survive_the_baseline_exactly(published: Any, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in (published.path / "agent_sft" / "search_agent.jsonl").open()]
    (row,) = [r for r in rows if r["trajectory"] == "s1"]
    assert [m["loss"] for m in row["messages"]] == [0, 0, 1, 0, 1]
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "t.parquet")
    (back,) = pq.read_table(tmp_path / "t.parquet").to_pylist()
    assert back["messages"][2]["tool_calls"][0]["function"]["arguments"] == ARGUMENTS


def test_llama_factory_finds_its_files(published: Any) -> None:
    info = json.loads((published.path / "llama_factory" / "dataset_info.json").read_text())
    assert {name: (published.path / "llama_factory" / e["file_name"]).exists() for name, e in info.items()} == {
        "search_agent": True,
        "sql_agent": True,
    }


def test_a_shifted_mask_is_found(published: Any, world: Any) -> None:
    path = published.path / "tokenised" / "sql_agent-00000.parquet"
    table = pq.read_table(path)
    rows = table.to_pylist()
    first = next(i for i, label in enumerate(rows[0]["labels"]) if label != -100)
    rows[0]["labels"][first - 1] = rows[0]["input_ids"][first - 1]
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    found = [f.what.split(": ", 1)[1] for f in verify(published.path, world.blobs).faults if "sha256" not in f.what]
    assert found == ["its labels do not decode to the target"]


def test_a_lost_row_of_a_format_is_found(published: Any, world: Any) -> None:
    path = published.path / "messages" / "search_agent.jsonl"
    path.write_text(path.read_text().splitlines()[0] + "\n")
    assert "its rows are not as many as the examples" in [f.what for f in verify(published.path, world.blobs).faults]


def test_packs_are_filled_and_never_overflow() -> None:
    packs = Packs(10)
    assert [packs.place(n) for n in (6, 5, 4, 5, 10, 1)] == [(0, 0), (1, 0), (0, 6), (1, 5), (2, 0), (3, 0)]


def test_processes_give_the_same_bytes(world: Any, tmp_path: Path) -> None:
    from compiler.compilation import compile_dataset

    rows = [world.search(f"s{n}", f"Question {n} about something?") for n in range(150)] + [world.sql(), world.swe()]
    versions = []
    for processes in (1, 4):
        done = compile_dataset(
            Recipe(formats=FORMATS), iter(rows), world.blobs, tmp_path / str(processes), "demo", processes=processes
        )
        versions.append({p.relative_to(done.path): p.read_bytes() for p in done.path.rglob("*") if p.is_file()})
    assert versions[0] == versions[1]
