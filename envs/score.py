"""What an agent hands in, and what it was worth."""

from typing import Any, Literal

from envs.frozen import Frozen


class Submission(Frozen):
    """`text` always holds the answer as a string: for rows their canonical JSON, for a patch the diff."""

    kind: Literal["text", "rows", "patch"]
    text: str
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[Any, ...], ...] = ()
    """JSON values, for kind `rows`."""
    sql: str | None = None
    """The query that gave the rows, where there was one."""


class Score(Frozen):
    """One scorer's opinion, appended beside a trajectory and never changed.

    A failure of ours is never a Score: scorers raise instead.
    """

    scorer: str
    version: str
    value: float
    """0 to 1."""
    verdict: Literal["right", "wrong", "partial", "no_answer"]
    words: str = ""
    """Why, for a person: what was expected, what differed, which tests failed."""

    @property
    def right(self) -> bool:
        return self.verdict == "right"
