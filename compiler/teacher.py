"""Targets written by a model: samples over the compiled prompt, of which only right ones become targets.

Owns the seam and the choice; how samples are made (queued, resumed, paid once) is the caller's.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import orjson

from compiler.candidate import Candidate
from compiler.chat import target_text
from compiler.drops import Dropped
from compiler.example import AnswerKind, Example
from compiler.recipe import Recipe
from compiler.tokens import Tokenizer
from compiler.transforms import neutralise, restore
from envs.frozen import Frozen, canonical_json, content_hash
from envs.score import Submission


class Sample(Frozen):
    """One reply to a compiled prompt."""

    reasoning: str | None
    content: str
    right: bool
    """Whether the environment's own scorer calls its answer (`answer_of`) right."""


Samples = Callable[[], Sequence[Sample]]
"""Waits until they are in. May raise: a compilation that lacks samples cannot go on, and is started again when they
are there."""


class Teacher(Protocol):
    def ask(self, example: Example, prompt: str, candidate: Candidate) -> Samples:
        """Order the samples of an example, which come in the same order each time. Does not wait for them."""
        ...


def teach(example: Example, samples: Sequence[Sample], recipe: Recipe, tokenizer: Tokenizer) -> Example:
    """Raises `Dropped`: no sample is right, or no right one fits the budget."""
    right = [s for s in samples if s.right]
    rate = f"{len(right)} of {len(samples)}"
    if not right:
        raise Dropped("teacher_never_right", f"{rate} samples are right")
    for sample in right:
        answer = neutralise(stripped(sample.content, example.answer_kind)).text
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


def answer_of(content: str, kind: AnswerKind) -> Submission | None:
    """The reply as a submission; None where it does not have the form that the prompt asks for."""
    text = restore(stripped(_unfenced(content), kind))
    if not text.strip():
        return None
    if kind == "patch":
        return Submission(kind="patch", text=text + "\n")
    if kind == "text":
        return Submission(kind="text", text=text)
    try:
        rows = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        return None
    return Submission(kind="rows", text=canonical_json(rows).decode(), rows=tuple(map(tuple, rows)))


def stripped(text: str, kind: AnswerKind) -> str:
    """Without blanks around it; the last line of a patch may be one that counts."""
    return text.lstrip().rstrip("\n") if kind == "patch" else text.strip()


def _unfenced(text: str) -> str:
    """What stands in the last fenced block, where there is one."""
    parts = text.split("```")
    return parts[-2].partition("\n")[2] if len(parts) >= 3 else text
