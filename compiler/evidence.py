"""What of a trajectory bears on its question: needed evidence, distractors, and the answer.

Owns the shape (`Material`) and what all environments share; which pieces are needed is told by one module for
each environment. From full blobs only, never from what the model was shown.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, TypeVar

from pydantic import ValidationError

from compiler.candidate import Candidate
from compiler.drops import Dropped, PieceReason
from compiler.transforms import Step
from envs.evidence import Evidence
from envs.frozen import Frozen
from rollout.trajectory import ToolStep, Trajectory

AnswerKind = Literal["text", "rows", "patch"]
World = TypeVar("World", bound=Frozen)


@dataclass(frozen=True)
class Found:
    """One source that may become a piece."""

    kind: Literal["document", "file", "table"]
    source: str
    version: str
    title: str
    blob: str
    encoding: str | None
    step: Step
    """How its bytes become text."""
    licence: str
    tier: int
    """See `Piece.tier`."""

    @cached_property
    def named(self) -> str:
        """Everything that its rendering depends on."""
        step = self.step
        words = [self.blob, str(self.encoding), f"{step.name}@{step.version}"]
        return "\0".join([*words, *(f"{k}={v}" for k, v in sorted(step.params.items()))])


@dataclass(frozen=True)
class Material:
    needed: tuple[Found, ...]
    distractors: tuple[Found, ...]
    """Those that the agent met, the most confusable first: the budget drops from the end."""
    answer: str
    answer_kind: AnswerKind
    group: str
    """The repository, database or document family; empty where nobody knows."""
    sibling: Callable[[Evidence, int], Found | None]
    """What another trajectory met, as this one would be shown it, in a tier; None where it must not distract."""
    answers: tuple[str, ...] = ()
    """The right ones, where a text that holds one is suspect."""
    labels: dict[str, str] = field(default_factory=dict)
    left_out: Counter[PieceReason] = field(default_factory=Counter)


def met(trajectory: Trajectory, left_out: Counter[PieceReason]) -> Iterator[tuple[ToolStep, Evidence]]:
    """What may be evidence, in order; what can never be is counted into `left_out`.

    Something opened whose text was not kept still comes: where it is needed, the example cannot be complete.
    """
    for step, piece in trajectory.evidence:
        if step.malformed or step.result.is_error:
            left_out["tool_error"] += 1
        elif piece.kind == "listing":
            left_out["listing"] += 1
        elif piece.blob is None and piece.base is None and piece.how == "listed":
            left_out["no_text"] += 1
        elif step.result.final and piece.blob is not None and piece.blob.hash in _echoes(step):
            left_out["answer_echo"] += 1
        else:
            yield step, piece


def _echoes(step: ToolStep) -> set[str]:
    """Hashes of what the answer tool itself wrote."""
    result = step.result
    texts = {result.text} | ({result.submission.text} if result.submission else set())
    hashes = {hashlib.sha256(t.encode("utf-8", "surrogateescape")).hexdigest() for t in texts}
    return hashes | ({result.raw.hash} if result.raw else set())


def parsed(model: type[World], data: dict[str, object], what: str) -> World:
    """Raises `Dropped("broken")` naming the field."""
    try:
        return model.model_validate(data)
    except ValidationError as e:
        first = e.errors()[0]
        raise Dropped("broken", f"{what}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def submitted(candidate: Candidate) -> str:
    submission = candidate.trajectory.submission
    if submission is None or not submission.text.strip():
        raise Dropped("no_answer", "neither the reference nor the submission holds an answer")
    return submission.text
