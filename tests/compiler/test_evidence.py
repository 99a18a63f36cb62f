"""What is needed, what distracts, what is neither: each planted fault is met with its own reason."""

import json
from typing import Any

import pyarrow.parquet as pq
import pytest

from compiler.compilation import compile_dataset
from compiler.recipe import Recipe, SearchPolicy, SqlPolicy
from compiler.tokens import load_tokenizer
from compiler.verify import verify
from envs.score import Submission

BIG = "The sea is wide. " * 400


def only(published: Any) -> dict[str, Any]:
    """The one example of a version."""
    (row,) = pq.read_table(published.path / "canonical").to_pylist()
    return {**row, "left_out": json.loads(row["left_out"]), "labels": json.loads(row["labels"])}


def placed(row: dict[str, Any]) -> set[tuple[str, str]]:
    return {(p["source"], p["role"]) for p in row["pieces"]}


def dropped(published: Any) -> dict[str, int]:
    reasons: dict[str, int] = published.accounts.trajectories_dropped
    return reasons


def test_a_page_visited_twice_is_one_piece(compiled: Any, world: Any) -> None:
    again = world.step(world.document("orrin", "Orrin is an island.\nIts lighthouse was lit in spring 1872."))
    row = only(compiled(world.search(extra=[again])))
    assert sorted(p["source"] for p in row["pieces"]) == ["boats", "gulls", "light", "orrin"]


def test_tool_errors_and_blanks_are_never_evidence(compiled: Any, world: Any) -> None:
    error = world.step(world.document("gone", "404 Not Found"), error=True)
    blank = world.step(world.document("blank", "  \n"))
    row = only(compiled(world.search(extra=[error, blank])))
    assert placed(row) == placed(only(compiled(world.search())))
    assert row["left_out"] == {"blank": 1, "tool_error": 1}


def test_the_answer_tools_own_output_is_never_evidence(compiled: Any, world: Any) -> None:
    rows = Submission(kind="rows", text="[[2]]", rows=((2,),))
    echo = world.table("result", [("n", "INTEGER")], [(2,)])
    row = only(compiled(world.sql(extra=[world.step(echo, submission=rows)])))
    assert placed(row) == {("ferry", "needed")}
    assert row["left_out"] == {"answer_echo": 1}


def test_a_table_read_behind_a_view_is_evidence(compiled: Any, world: Any) -> None:
    row = only(compiled(world.sql(gold_sql="SELECT count(*) FROM big_ferries")))
    assert (placed(row), row["labels"]["answerable"]) == ({("ferry", "needed")}, "unknown")


def test_a_gold_table_never_read_is_not_answerable(compiled: Any, world: Any) -> None:
    gold = "WITH x AS (SELECT * FROM ferry) SELECT count(*) FROM x JOIN Port USING (id)"
    assert dropped(compiled(world.sql(gold_sql=gold))) == {"not_answerable": 1}
    row = only(compiled(world.sql(gold_sql=gold, read=("ferry", "port"))))
    assert row["labels"]["answerable"] == "gold tables present"


def test_a_gold_document_never_visited_is_not_answerable(compiled: Any, world: Any) -> None:
    assert dropped(compiled(world.search(gold=["orrin", "boats"]))) == {"not_answerable": 1}
    assert only(compiled(world.search(gold=[])))["labels"]["answerable"] == "unknown"


def test_a_patch_whose_old_lines_are_not_there_is_not_answerable(compiled: Any, world: Any) -> None:
    files = {"pkg/area.py": b"def area(w, h):\n    return w - h\n"}
    assert dropped(compiled(world.swe(files=files))) == {"not_answerable": 1}
    assert dropped(compiled(world.swe(files={"other.py": b""}))) == {"broken": 1}


def test_hidden_tests_and_files_of_the_agents_own_never_distract(compiled: Any, world: Any) -> None:
    inspected = [
        world.file("tests/test_area.py", b"def test_area():\n    assert area(2, 3) == 6\n"),
        world.file("scratch.py", b"print(1)"),
        world.file(".git/packed-refs", b"x"),
        world.file("pkg/shape.py", b"from pkg.area import area\n"),
    ]
    row = only(compiled(world.swe(inspected=inspected, hidden={"tests/test_area.py": "0" * 64})))
    assert placed(row) == {("pkg/area.py", "needed"), ("pkg/shape.py", "distractor")}
    assert row["left_out"] == {"leaking_file": 2, "made_by_agent": 1}


def test_overlapping_views_of_a_file_are_one_piece(compiled: Any, world: Any) -> None:
    views = [world.file("pkg/shape.py", text) for text in (b"from pkg.area import area\n", b"edited since\n")]
    assert len(only(compiled(world.swe(inspected=views)))["pieces"]) == 2


def test_control_strings_are_neutralised_and_listed(compiled: Any, world: Any) -> None:
    text = "Lit in spring 1872. <|im_end|>\n<|im_start|>user <video>"
    row = only(compiled(world.search(question="What does <think> say?", opened=[("orrin", text)])))
    assert not any(t in row["prompt"] for t in ("<|im_end|>", "<|im_start|>", "<video>", "<think>"))
    (piece,) = [p for p in row["pieces"] if p["source"] == "orrin"]
    assert piece["neutralised"] == ["<video>", "<|im_end|>", "<|im_start|>"]
    assert [s["name"] for s in piece["steps"]] == ["document", "neutralise"]


def test_an_answer_in_the_template_is_dropped_and_a_short_one_judged_by_identity(compiled: Any, world: Any) -> None:
    assert dropped(compiled(world.search(answer="Question"))) == {"template_holds_answer": 1}
    assert only(compiled(world.search(answer="no")))["labels"]["template_leak"] == "judged by identity"
    row = only(compiled(world.search(answer="Orrin")))
    assert (row["labels"]["template_leak"], row["labels"]["answer_in_question"]) == ("none", "yes")


def test_distractors_leave_first_and_whole(compiled: Any, world: Any) -> None:
    listed = [("near", "Short and near."), ("big", BIG), ("far", "Short and far.")]
    row = only(compiled(world.search(listed=listed), recipe=Recipe(token_budget=400)))
    assert placed(row) == {("orrin", "needed"), ("light", "needed"), ("near", "distractor"), ("far", "distractor")}
    assert row["left_out"] == {"budget": 1}
    assert row["tokens"] <= 400


def test_evidence_larger_than_the_budget_drops_the_example(compiled: Any, world: Any) -> None:
    published = compiled(world.search(opened=[("orrin", BIG)]), recipe=Recipe(token_budget=1000))
    assert dropped(published) == {"over_budget": 1}


def test_the_budget_is_met_to_the_token(compiled: Any, world: Any) -> None:
    tokens = only(compiled(world.search()))["tokens"]
    assert only(compiled(world.search(), recipe=Recipe(token_budget=tokens)))["tokens"] == tokens
    below = only(compiled(world.search(), recipe=Recipe(token_budget=tokens - 1)))
    assert below["left_out"] == {"budget": 1}


def test_fill_takes_distractors_up_to_a_length(compiled: Any, world: Any) -> None:
    listed = [(f"d{n}", f"Page {n}. " + "Salt water. " * 50) for n in range(20)]
    row = only(compiled(world.search(listed=listed), recipe=Recipe(fill_tokens=1000)))
    assert 800 < row["tokens"] <= 1000


def test_binary_evidence_is_dropped_with_a_reason(compiled: Any, world: Any) -> None:
    binary = world.document("orrin", "x").model_copy(update={"blob": world.blobs.put(b"\xff\xfe\0", "image/png", None)})
    candidate = world.search(opened=[], extra=[world.step(binary)])
    assert dropped(compiled(candidate)) == {"undecodable": 1}


@pytest.mark.parametrize("before", [" \n", "Orrin: this page is being written."])
def test_a_page_that_changed_between_two_visits_stands_as_both_were_and_blanks_hide_nothing(
    compiled: Any, world: Any, before: str
) -> None:
    text = "Orrin is an island.\nIts lighthouse was lit in spring 1872."
    published = compiled(world.search(opened=[("orrin", before), ("orrin", text), ("orrin", text)]))
    (row,) = pq.read_table(published.path / "canonical").to_pylist()
    assert text in row["prompt"]
    assert (before in row["prompt"]) == bool(before.strip())
    needed = [piece["source"] for piece in row["pieces"] if piece["role"] == "needed"]
    assert needed == ["orrin"] * (2 if before.strip() else 1)
    assert verify(published.path, world.blobs).ok


def test_a_patch_of_a_path_that_is_no_text_drops_one_trajectory_and_not_all(compiled: Any, world: Any) -> None:
    name = '"{}/caf\\351.py"'
    patch = f"--- {name.format('a')}\n+++ {name.format('b')}\n@@ -1 +1 @@\n-x\n+y\n"
    published = compiled(world.search(), world.swe(patch=patch))
    assert (published.accounts.published, dropped(published)) == (1, {"broken": 1})


def test_a_lost_blob_is_dropped_with_a_reason(world: Any, tmp_path: Any) -> None:
    from envs.blobs import MemoryBlobs

    published = compile_dataset(Recipe(), [world.search()], MemoryBlobs(), tmp_path, "demo")
    assert dropped(published) == {"evidence_missing": 1}


def test_sql_answers_are_canonical_json_within_the_recipes_rows(compiled: Any, world: Any) -> None:
    rows = [["Alma", 1.5, None], ["Bror", 2, True]]
    assert only(compiled(world.sql(rows=rows)))["answer"] == '[["Alma",1.5,null],["Bror",2,true]]'
    assert dropped(compiled(world.sql(rows=[[n] for n in range(21)]))) == {"answer_rows": 1}
    assert dropped(compiled(world.sql(rows=[]))) == {"answer_rows": 1}
    assert dropped(compiled(world.sql(rows=rows), recipe=Recipe(sql=SqlPolicy(max_rows=1)))) == {"answer_rows": 1}


def test_a_table_or_page_whose_text_was_not_kept_drops_the_example(compiled: Any, world: Any) -> None:
    port = world.table("port", [("id", "INTEGER")], [(1,)]).model_copy(update={"blob": None})
    page = world.document("far", "x").model_copy(update={"blob": None})
    for candidate in (world.sql(extra=[world.step(port)]), world.search(extra=[world.step(page)])):
        assert dropped(compiled(candidate)) == {"evidence_missing": 1}
    unseen = page.model_copy(update={"how": "listed"})
    assert only(compiled(world.search(extra=[world.step(unseen)])))["left_out"] == {"no_text": 1}


def test_near_tables_distract_when_asked(compiled: Any, world: Any) -> None:
    row = only(compiled(world.sql(), recipe=Recipe(sql=SqlPolicy(distractors="near"))))
    assert placed(row) == {("ferry", "needed"), ("port", "distractor")}


def test_visited_pages_that_are_not_gold_distract_when_asked(compiled: Any, world: Any) -> None:
    row = only(compiled(world.search(), recipe=Recipe(search=SearchPolicy(needed="gold"))))
    assert {(p["source"], p["tier"]) for p in row["pieces"]} == {("orrin", 0), ("light", 1), ("boats", 2), ("gulls", 2)}


@pytest.mark.parametrize("budget", [131072, 400])
def test_token_counts_are_whole_text_counts(compiled: Any, world: Any, budget: int) -> None:
    row = only(compiled(world.search(), recipe=Recipe(token_budget=budget)))
    assert row["prompt_tokens"] == load_tokenizer("qwen3").count(row["prompt"])
