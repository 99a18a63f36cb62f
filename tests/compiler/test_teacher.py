"""Targets from a teacher: the kept ones are exactly the right ones."""

from collections.abc import Sequence
from typing import Any

import pyarrow.parquet as pq
import pytest

from compiler.compilation import compile_dataset
from compiler.errors import RecipeError
from compiler.example import Example
from compiler.recipe import Recipe, TeacherPolicy
from compiler.teacher import Completion, answer_of
from compiler.verify import verify
from envs.score import Submission

RECIPE = Recipe(target="teacher", teacher=TeacherPolicy(samples=3), formats=("messages", "tokenised"))


class Scripted:
    """Right in its n-th sample where the task's number says n; the third of every four tasks never."""

    def complete(self, example: Example, prompt: str, samples: int) -> Sequence[Completion]:
        assert example.question in prompt
        number = int(example.task.removeprefix("t-s"))
        replies = ["wrong"] * samples
        if number % 4 != 3:
            replies[number % 4] = "in spring 1872"
        return [Completion(reasoning=f"Thought {i} says <think>.", content=r) for i, r in enumerate(replies)]

    def right(self, candidate: Any, submission: Submission) -> bool:
        return submission.text in candidate.reference.data["answers"]


def test_only_right_samples_become_targets(world: Any, tmp_path: Any) -> None:
    rows = [world.search(f"s{n}", f"Question {n} about something?") for n in range(12)]
    published = compile_dataset(RECIPE, rows, world.blobs, tmp_path, "demo", teacher=Scripted())
    assert published.accounts.trajectories_dropped == {"teacher_never_right": 3}
    assert published.manifest["warnings"] == []
    table = pq.read_table(published.path / "canonical").to_pylist()
    assert {(r["task"], r["reasoning"]) for r in table} == {
        (f"t-s{n}", f"Thought {n % 4} says <\\think>.") for n in range(12) if n % 4 != 3
    }
    assert {r["answer"] for r in table} == {"in spring 1872"}
    assert verify(published.path, world.blobs).faults == ()


def test_a_recipe_that_needs_a_teacher_says_so(compiled: Any, world: Any) -> None:
    with pytest.raises(RecipeError, match=r"target: 'teacher' needs a model endpoint"):
        compiled(world.search(), recipe=RECIPE)


@pytest.mark.parametrize(
    ("kind", "content", "text"),
    [
        ("rows", '```json\n[[1, "a"]]\n```', '[[1,"a"]]'),
        ("rows", "The rows are 1 and 2.", None),
        ("rows", "[1]", None),
        ("patch", "Here:\n```diff\n--- a/x\n+++ b/x\n```", "--- a/x\n+++ b/x\n"),
        ("text", " 1872 ", "1872"),
        ("text", "", None),
    ],
)
def test_replies_become_submissions(kind: str, content: str, text: str | None) -> None:
    example = Example.model_construct(answer_kind=kind)
    submission = answer_of(content, example)
    assert (submission and submission.text) == text
