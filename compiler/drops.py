"""Why something did not become part of a dataset, and the accounts over it."""

from collections import Counter
from typing import Literal

from compiler.errors import CompileError
from envs.frozen import Frozen

TrajectoryReason = Literal[
    "environment",
    "oracle",
    "unfinished",
    "no_score",
    "no_reference",
    "not_right",
    "no_evidence",
    "evidence_missing",
    "undecodable",
    "no_answer",
    "answer_rows",
    "not_answerable",
    "template_holds_answer",
    "over_budget",
    "too_short",
    "contaminated",
    "closed_book",
    "shortcut",
    "teacher_never_right",
    "teacher_failed",
    "spare_pieces",
    "audit_failed",
    "broken",
]
"""A trajectory yields no example, by the first of these. `broken`: its own data contradict each other.
`teacher_failed` and `audit_failed`: a model call failed for good; the next compilation makes it again."""

ExampleReason = Literal["duplicate", "near_duplicate", "group_cap", "source_cap", "mixture"]
"""An example was built and is not published."""

PieceReason = Literal[
    "tool_error",
    "listing",
    "blank",
    "answer_echo",
    "no_text",
    "undecodable",
    "made_by_agent",
    "leaking_file",
    "contaminated",
    "budget",
    "fill",
    "blob_missing",
]
"""A piece met by the agent that does not stand in the prompt. Repeated views are one piece, not a drop."""


class Drop(Frozen):
    trajectory: str
    stage: Literal["trajectory", "example"]
    reason: TrajectoryReason | ExampleReason
    words: str = ""


class Dropped(Exception):
    """Raised while one trajectory is compiled: it yields no example."""

    def __init__(self, reason: TrajectoryReason, words: str):
        super().__init__(words)
        self.reason: TrajectoryReason = reason
        self.words = words


class Accounts(Frozen):
    """selected = yielded + dropped trajectories; yielded = built = published + dropped examples."""

    selected: int
    yielded: int
    trajectories_dropped: dict[str, int]
    built: int
    published: int
    examples_dropped: dict[str, int]

    @property
    def closed(self) -> bool:
        return (
            self.selected == self.yielded + sum(self.trajectories_dropped.values())
            and self.built == self.published + sum(self.examples_dropped.values())
            and self.yielded == self.built
        )


def account(selected: int, built: int, published: int, drops: Counter[tuple[str, str]]) -> Accounts:
    """`drops` counts (stage, reason)."""
    by_stage: dict[str, dict[str, int]] = {"trajectory": {}, "example": {}}
    for (stage, reason), n in sorted(drops.items()):
        by_stage[stage][reason] = n
    return Accounts(
        selected=selected,
        yielded=built,
        trajectories_dropped=by_stage["trajectory"],
        built=built,
        published=published,
        examples_dropped=by_stage["example"],
    )


CALLS_FAILED = ("teacher_failed", "audit_failed")
ASKED_AND_DROPPED = (*CALLS_FAILED, "teacher_never_right", "closed_book", "shortcut", "spare_pieces")


def calls_failed(accounts: Accounts, most: float) -> str | None:
    """Words for the manifest where model calls failed for good. Raises `CompileError` where they did for more than
    the share `most` of the examples that were asked about."""
    dropped = accounts.trajectories_dropped
    failed = sum(dropped.get(reason, 0) for reason in CALLS_FAILED)
    asked = accounts.built + sum(dropped.get(reason, 0) for reason in ASKED_AND_DROPPED)
    if failed > most * asked:
        raise CompileError(
            f"model calls failed for {failed} of {asked} examples, more than most_failed = {most:g} of them; what was "
            "replied is kept: compile again, and only what failed is asked for again"
        )
    words = f"{failed} of {asked} examples are missing because model calls failed; compiling again asks for them again"
    return words if failed else None
