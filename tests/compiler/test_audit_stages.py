"""Audits that ask a model: what is answered from less than the whole context is dropped or labelled, nothing else."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow.parquet as pq
import pytest

from compiler.asking import AHEAD, Sample, Samples, Unanswered
from compiler.candidate import Candidate
from compiler.compilation import compile_dataset
from compiler.errors import CompileError, RecipeError
from compiler.example import Example
from compiler.publish import Published
from compiler.recipe import Recipe
from compiler.recipe_asking import Asking, ClosedBook, Necessity, Shortcut, TeacherPolicy
from compiler.shortcut import bm25
from compiler.verify import verify


@dataclass
class Reader:
    """Right where the texts that a task needs all stand in the prompt. `known`: tasks that it needs nothing for;
    `fails`: tasks whose calls fail for good."""

    needs: Mapping[str, tuple[str, ...]]
    known: frozenset[str] = frozenset()
    fails: frozenset[str] = frozenset()
    cut: bool = False
    prompts: list[tuple[str, str]] = field(default_factory=list)

    def ask(self, asking: Asking, prompt: str, tokens: int, example: Example, candidate: Candidate) -> Samples:
        assert candidate.trajectory.task.id == example.task
        assert tokens > 0
        self.prompts.append((example.task, prompt))
        rest = prompt.replace(example.question, "")
        right = example.task in self.known or all(text in rest for text in self.needs[example.task])

        def samples() -> list[Sample]:
            if example.task in self.fails:
                raise Unanswered("the endpoint is away")
            return [Sample(reasoning=None, content="in spring 1872", right=right, cut=self.cut)] * asking.samples

        return samples


ISLAND = "Orrin is an island of the north."
LIT = "The lighthouse was lit in spring 1872."
OTHER = "Ferries cross the sound at noon."


def question(world: Any, id: str, *pages: str, listed: str = "Boats float on water.") -> Candidate:
    """Every page was visited, and so counts as needed."""
    opened = [(f"{id}-page{i}", f"{page} ({id})") for i, page in enumerate(pages)]
    made: Candidate = world.search(
        id, f"When was the lighthouse of Orrin lit, asks {id}?", opened=opened, listed=[(f"{id}-x", listed)], gold=()
    )
    return made


def compiled(world: Any, at: Any, reader: Reader, *rows: Candidate, **parts: Any) -> Published:
    recipe = Recipe(near_duplicates=None, most_failed=parts.pop("most_failed", 1.0), **parts)
    return compile_dataset(recipe, rows, world.blobs, at, "demo", asker=reader)


def kept(published: Published) -> dict[str, dict[str, Any]]:
    rows = pq.read_table(published.path / "canonical").to_pylist() if published.accounts.published else []
    return {row["task"]: {**row, "labels": json.loads(row["labels"])} for row in rows}


def dropped(published: Published) -> dict[str, str]:
    drops = map(json.loads, (published.path / "drops.jsonl").read_text().splitlines())
    return {drop["trajectory"]: drop["reason"] for drop in drops}


BOTH = (ISLAND, LIT)


def test_what_is_known_by_heart_is_dropped_and_nothing_else(world: Any, tmp_path: Any) -> None:
    rows = [question(world, f"s{n}", *BOTH) for n in range(8)]
    reader = Reader({f"t-s{n}": BOTH for n in range(8)}, known=frozenset({"t-s2", "t-s5"}))
    published = compiled(world, tmp_path, reader, *rows, closed_book=ClosedBook(samples=3))
    assert dropped(published) == {"s2": "closed_book", "s5": "closed_book"}
    assert {row["labels"]["closed_book"] for row in kept(published).values()} == {"not answered (0 of 3)"}
    assert not any(text in prompt for _, prompt in reader.prompts for text in BOTH)
    assert verify(published.path, world.blobs).faults == ()
    card = (published.path / "README.md").read_text()
    assert "| dropped: closed_book | 2 |" in card
    assert "| closed_book: not answered (0 of 3) | 6 |" in card


def test_an_audit_that_labels_drops_nothing(world: Any, tmp_path: Any) -> None:
    rows = [question(world, f"s{n}", *BOTH) for n in range(3)]
    reader = Reader({f"t-s{n}": BOTH for n in range(3)}, known=frozenset({"t-s1"}), fails=frozenset({"t-s2"}))
    published = compiled(world, tmp_path, reader, *rows, closed_book=ClosedBook(action="label", samples=2))
    assert {task: row["labels"]["closed_book"] for task, row in kept(published).items()} == {
        "t-s0": "not answered (0 of 2)",
        "t-s1": "answered (2 of 2)",
        "t-s2": "failed",
    }


def test_a_reply_that_was_cut_off_says_so(world: Any, tmp_path: Any) -> None:
    reader = Reader({"t-s1": BOTH}, cut=True)
    published = compiled(world, tmp_path, reader, question(world, "s1", *BOTH), closed_book=ClosedBook(samples=2))
    (row,) = kept(published).values()
    assert row["labels"]["closed_book"] == "not answered (0 of 2; 2 cut off)"
    assert row["asked"] == [{"by": "closed_book", "view": "nothing", "source": "", "right": 0, "of": 2, "cut": 2}]


def test_one_piece_that_is_enough_is_a_shortcut(world: Any, tmp_path: Any) -> None:
    alone = f"{LIT} When the lighthouse of Orrin was lit, people asked."
    rows = [question(world, "s1", *BOTH), question(world, "s2", OTHER, alone)]
    reader = Reader({"t-s1": BOTH, "t-s2": (LIT,)})
    published = compiled(world, tmp_path, reader, *rows, shortcut=Shortcut(views=("top_piece",)))
    assert dropped(published) == {"s2": "shortcut"}
    assert kept(published)["t-s1"]["labels"]["shortcut"] == "not answered (0 of 1)"


def test_a_stretch_that_is_enough_is_a_shortcut(world: Any, tmp_path: Any) -> None:
    """It may reach over several pieces, and a long piece is cut."""
    filler = "\n".join(f"Line {i} is about the weather of day {i * i}." for i in range(600))
    asked = "The lighthouse of Orrin, when was it lit, asks everybody."
    near = question(world, "s1", f"{filler}\n{asked} {LIT}\n{ISLAND}\n{filler}")
    far = question(world, "s2", f"{filler}\n{asked} {LIT}\n{filler}", f"{filler}\n{ISLAND}\n{filler}")
    short = question(world, "s3", *BOTH)
    reader = Reader({"t-s1": BOTH, "t-s2": BOTH, "t-s3": BOTH})
    recipe = {"shortcut": Shortcut(views=("window",), window_tokens=2000)}
    published = compiled(world, tmp_path, reader, near, far, short, **recipe)
    assert dropped(published) == {"s1": "shortcut"}
    assert {t: row["labels"]["shortcut"] for t, row in kept(published).items()} == {
        "t-s2": "not answered (0 of 1)",
        "t-s3": "no shorter view",
    }
    counted = {task: len(prompt) for task, prompt in reader.prompts}
    assert counted.keys() == {"t-s1", "t-s2"}
    assert max(counted.values()) < len(filler)


def test_a_piece_that_is_not_needed_is_spare(world: Any, tmp_path: Any) -> None:
    """And one that is taken away without need does no harm: `s2` needs two of its three pages."""
    rows = [question(world, "s1", *BOTH), question(world, "s2", *BOTH, OTHER), question(world, "s3", OTHER, LIT)]
    reader = Reader({"t-s1": BOTH, "t-s2": BOTH, "t-s3": BOTH})
    every = compiled(world, tmp_path / "every", reader, *rows, necessity=Necessity())
    assert dropped(every) == {"s2": "spare_pieces"}
    assert {task: row["labels"]["necessity"] for task, row in kept(every).items()} == {
        "t-s1": "2 of 2 pieces necessary",
        "t-s3": "inconclusive: not answered from the whole context",
    }
    asked = kept(every)["t-s1"]["asked"]
    assert [(a["view"], a["source"], a["right"], a["of"]) for a in asked] == [
        ("whole", "", 1, 1),
        *(("without", p["source"], 0, 1) for p in kept(every)["t-s1"]["pieces"] if p["role"] == "needed"),
    ]
    two = compiled(world, tmp_path / "two", reader, *rows, necessity=Necessity(least=2))
    assert dropped(two) == {}
    assert kept(two)["t-s2"]["labels"]["necessity"] == "2 of 3 pieces necessary"
    three = compiled(world, tmp_path / "three", reader, *rows, necessity=Necessity(least=3))
    assert dropped(three) == {"s1": "spare_pieces", "s2": "spare_pieces"}


def test_what_could_not_be_asked_is_neither_kept_nor_forgotten(world: Any, tmp_path: Any) -> None:
    rows = [question(world, f"s{n}", *BOTH) for n in range(4)]
    needs = {f"t-s{n}": BOTH for n in range(4)}
    away = Reader(needs, fails=frozenset({"t-s3"}))
    audits = {"closed_book": ClosedBook(), "most_failed": 0.25}
    published = compiled(world, tmp_path, away, *rows, **audits)
    assert published.accounts.trajectories_dropped == {"audit_failed": 1}
    assert published.manifest["warnings"][-1] == (
        "1 of 4 examples are missing because model calls failed; compiling again asks for them again"
    )
    assert dropped(compiled(world, tmp_path, Reader(needs), *rows, **audits)) == {}
    with pytest.raises(CompileError, match=r"model calls failed for 1 of 4 examples, more than most_failed = 0.2"):
        compiled(world, tmp_path / "b", away, *rows, closed_book=ClosedBook(), most_failed=0.2)
    assert list((tmp_path / "b" / "demo").glob("*")) == []


def test_what_one_audit_drops_the_next_is_not_asked_about(world: Any, tmp_path: Any) -> None:
    rows = [question(world, f"s{n}", *BOTH) for n in range(2 * AHEAD + 3)]
    needs = {f"t-s{n}": BOTH for n in range(len(rows))}
    reader = Reader(needs, known=frozenset({"t-s0", f"t-s{AHEAD}"}))
    parts = {"closed_book": ClosedBook(), "shortcut": Shortcut(), "necessity": Necessity(), "target": "teacher"}
    published = compiled(world, tmp_path, reader, *rows, **parts)
    assert published.accounts.trajectories_dropped == {"closed_book": 2}
    prompts = [task for task, _ in reader.prompts]
    # Without context; the top piece alone; the teacher's; the whole again; and without each of two pieces.
    assert {task: prompts.count(task) for task in needs} == {task: 1 if task in reader.known else 6 for task in needs}


def test_the_teacher_is_told_apart_from_the_audits(world: Any, tmp_path: Any) -> None:
    reader = Reader({"t-s1": BOTH, "t-s2": (ISLAND, "missing")})
    rows = [question(world, "s1", *BOTH), question(world, "s2", *BOTH)]
    parts = {"target": "teacher", "teacher": TeacherPolicy(samples=2), "necessity": Necessity()}
    published = compiled(world, tmp_path, reader, *rows, **parts)
    assert dropped(published) == {"s2": "teacher_never_right"}
    (row,) = kept(published).values()
    assert [(a["by"], a["view"], a["right"], a["of"]) for a in row["asked"]] == [
        ("teacher", "whole", 2, 2),
        ("necessity", "whole", 1, 1),
        ("necessity", "without", 0, 1),
        ("necessity", "without", 0, 1),
    ]


def test_an_audit_without_anybody_to_ask_is_refused(world: Any, tmp_path: Any) -> None:
    with pytest.raises(RecipeError, match="necessity needs a model endpoint"):
        compile_dataset(Recipe(necessity=Necessity()), [], world.blobs, tmp_path, "demo")


def test_bm25_ranks_rare_words_above_common_ones_and_short_texts_above_long() -> None:
    texts = ["the the the sea", "the lighthouse", f"the lighthouse {'of the sea ' * 20}", "boats"]
    scores = bm25("the lighthouse", texts)
    assert sorted(range(4), key=lambda i: -scores[i]) == [1, 2, 0, 3]
    assert scores[3] == 0
