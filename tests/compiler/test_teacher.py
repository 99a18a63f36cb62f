"""Targets from a teacher: the kept ones are exactly the right ones."""

from typing import Any

import pyarrow.parquet as pq
import pytest

from compiler.asking import Sample, Samples
from compiler.candidate import Candidate
from compiler.compilation import compile_dataset
from compiler.errors import RecipeError
from compiler.example import Example
from compiler.recipe import Recipe
from compiler.recipe_asking import Asking, TeacherPolicy
from compiler.reply import answer_of
from compiler.verify import verify

RECIPE = Recipe(target="teacher", teacher=TeacherPolicy(samples=3), formats=("messages", "tokenised"))


class Scripted:
    """Right in its n-th sample where the task's number says n; the third of every four tasks never. `asked` says how
    many examples were asked for before the first one was waited for."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def ask(self, asking: Asking, prompt: str, tokens: int, example: Example, candidate: Candidate) -> Samples:
        assert (asking, tokens) == (RECIPE.teacher, example.prompt_tokens)
        assert example.question in prompt
        number = int(candidate.trajectory.task.id.removeprefix("t-s"))
        self.asked.append(number)
        replies = ["wrong"] * RECIPE.teacher.samples
        if number % 4 != 3:
            replies[number % 4] = "in spring 1872"

        def samples() -> list[Sample]:
            assert len(self.asked) == 12
            return [
                Sample(reasoning=f"Thought {i} says <think>.", content=r, right=r != "wrong")
                for i, r in enumerate(replies)
            ]

        return samples


def test_only_right_samples_become_targets(world: Any, tmp_path: Any) -> None:
    rows = [world.search(f"s{n}", f"Question {n} about something?") for n in range(12)]
    published = compile_dataset(RECIPE, rows, world.blobs, tmp_path, "demo", asker=Scripted())
    assert published.accounts.trajectories_dropped == {"teacher_never_right": 3}
    assert published.manifest["warnings"] == []
    table = pq.read_table(published.path / "canonical").to_pylist()
    assert {(r["task"], r["reasoning"]) for r in table} == {
        (f"t-s{n}", f"Thought {n % 4} says <\\think>.") for n in range(12) if n % 4 != 3
    }
    assert {r["answer"] for r in table} == {"in spring 1872"}
    assert (published.path / "plots" / "pass_rates.svg").read_text().count("<title>") == 2
    assert "<title>none: 3</title>" in (published.path / "plots" / "pass_rates.svg").read_text()
    assert "<title>1 of 3: 9</title>" in (published.path / "plots" / "pass_rates.svg").read_text()
    assert verify(published.path, world.blobs).faults == ()


def test_a_right_patch_in_other_words_than_the_gold_one_is_no_fault(world: Any, tmp_path: Any) -> None:
    hunk = "@@ -1,2 +1,2 @@\n def area(w, h):\n-    return w + h\n+    return h * w"
    patch = f"--- a/pkg/area.py\n+++ b/pkg/area.py\n{hunk}"

    class Silent:
        def ask(self, asking: Asking, *_: Any) -> Samples:
            return lambda: [Sample(reasoning=None, content=patch, right=True)] * asking.samples

    published = compile_dataset(RECIPE, [world.swe()], world.blobs, tmp_path, "demo", asker=Silent())
    assert [r["answer"] for r in pq.read_table(published.path / "canonical").to_pylist()] == [patch]
    assert verify(published.path, world.blobs).faults == ()


@pytest.mark.parametrize(
    ("said", "room"), [({"max_tokens": 400}, 400), ({"max_completion_tokens": 300}, 300), ({}, 250)]
)
def test_distractors_leave_room_for_what_the_teacher_may_write(
    world: Any, tmp_path: Any, said: dict[str, int], room: int
) -> None:
    """Its calls are paid for before anybody knows how long its reply is."""

    class Thoughtful:
        def ask(self, asking: Asking, *_: Any) -> Samples:
            return lambda: (
                [Sample(reasoning="so " * (room - 20), content="in spring 1872", right=True)] * asking.samples
            )

    rows = [
        world.search(
            f"s{n}", f"Question {n}?", listed=[(f"d{i}", f"Page {i}. " + "Salt water. " * 15) for i in range(60)]
        )
        for n in range(3)
    ]
    recipe = Recipe(target="teacher", token_budget=2000, teacher=TeacherPolicy(sampling=said))
    published = compile_dataset(recipe, rows, world.blobs, tmp_path, "demo", asker=Thoughtful())
    assert published.accounts.published == 3
    assert published.manifest["statistics"]["shortest"] > 1850
    assert verify(published.path, world.blobs).faults == ()


def test_a_recipe_that_needs_a_teacher_says_so(compiled: Any, world: Any) -> None:
    with pytest.raises(RecipeError, match=r"target: 'teacher' needs a model endpoint"):
        compiled(world.search(), recipe=RECIPE)


FENCES = """\
--- a/README.md
+++ b/README.md
@@ -1,4 +1,4 @@
 # Area
 ```python
-area(2, 3)
+area(3, 2)
 ```
"""
"""A patch of a page that has fenced blocks itself."""


@pytest.mark.parametrize(
    ("kind", "content", "text"),
    [
        ("rows", '```json\n[[1, "a"]]\n```', '[[1,"a"]]'),
        ("rows", "The rows are 1 and 2.", None),
        ("rows", "[1]", None),
        ("rows", f"[{'[' * 900}{']' * 900}]", None),
        ("rows", "[[1e999]]", None),
        ("patch", "Here:\n```diff\n--- a/x\n+++ b/x\n```", "--- a/x\n+++ b/x\n"),
        (
            "patch",
            "\n--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n-a\n+b\n \n\n",
            "--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n-a\n+b\n \n",
        ),
        ("patch", FENCES, FENCES),
        ("patch", f"Here:\n```diff\n{FENCES}```\nThat is all.", FENCES),
        ("patch", f"First:\n```\nx\n```\nThen:\n```diff\n{FENCES}\n```", FENCES),
        ("patch", "```diff\n--- a/x\n+++ b/x```", "--- a/x\n+++ b/x\n"),
        ("patch", " \n", None),
        ("text", " 1872 ", "1872"),
        ("text", "", None),
    ],
)
def test_replies_become_submissions(kind: Any, content: str, text: str | None) -> None:
    submission = answer_of(content, kind)
    assert (submission and submission.text) == text
