"""Targets written by a model: samples over the compiled prompt, of which only right ones become targets.

Owns the seam and the choice; how samples are made (queued, resumed, paid once) is the caller's.
"""

from collections.abc import Sequence
from typing import Protocol

import orjson

from compiler.candidate import Candidate
from compiler.chat import target_text
from compiler.drops import Dropped
from compiler.example import Example
from compiler.recipe import Recipe
from compiler.tokens import Tokenizer
from compiler.transforms import neutralise, restore
from envs.frozen import Frozen, canonical_json, content_hash
from envs.score import Submission


class Completion(Frozen):
    reasoning: str | None
    content: str


class Teacher(Protocol):
    """Blocking. May raise: a compilation that lacks samples cannot go on, and is started again when they are in."""

    def complete(self, example: Example, prompt: str, samples: int) -> Sequence[Completion]:
        """Up to `samples` replies to the prompt, always in the same order for the same example."""
        ...

    def right(self, candidate: Candidate, submission: Submission) -> bool:
        """Whether the environment's own scorer calls it right."""
        ...


def teach(
    example: Example, prompt: str, candidate: Candidate, recipe: Recipe, tokenizer: Tokenizer, teacher: Teacher
) -> Example:
    """Raises `Dropped`: no sample is right, or no right one fits the budget."""
    samples = teacher.complete(example, prompt, recipe.teacher.samples)
    right = [s for s in samples if (a := answer_of(s.content, example)) and teacher.right(candidate, a)]
    rate = f"{len(right)} of {len(samples)}"
    if not right:
        raise Dropped("teacher_never_right", f"{rate} samples are right")
    for sample in right:
        answer = neutralise(sample.content.strip()).text
        reasoning = None if sample.reasoning is None else neutralise(sample.reasoning.strip()).text
        target_tokens = tokenizer.count(target_text(reasoning, answer))
        tokens = example.tokens - example.target_tokens + target_tokens
        if tokens <= recipe.token_budget:
            return example.model_copy(
                update={
                    "id": content_hash([example.id, reasoning, answer]),
                    "answer": answer,
                    "reasoning": reasoning,
                    "target_tokens": target_tokens,
                    "tokens": tokens,
                    "context_length": recipe.label(tokens),
                    "labels": example.labels | {"teacher_pass_rate": rate},
                }
            )
    raise Dropped("over_budget", f"{rate} samples are right; none fits the budget of {recipe.token_budget} tokens")


def answer_of(content: str, example: Example) -> Submission | None:
    """The reply as a submission; None where it does not have the form that the prompt asks for."""
    text = restore(_unfenced(content.strip()))
    if not text:
        return None
    if example.answer_kind == "patch":
        return Submission(kind="patch", text=text + "\n")
    if example.answer_kind == "text":
        return Submission(kind="text", text=text)
    try:
        rows = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        return None
    return Submission(kind="rows", text=canonical_json(rows).decode(), rows=tuple(map(tuple, rows)))


def _unfenced(text: str) -> str:
    """What stands in the last fenced block, where there is one."""
    parts = text.split("```")
    return parts[-2].partition("\n")[2].rstrip() if len(parts) >= 3 else text
