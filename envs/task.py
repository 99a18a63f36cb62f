"""What an agent is asked to do, and, kept apart, what its answer is scored against."""

from typing import Any

from pydantic import Field

from envs.frozen import Frozen, content_hash


class Limits(Frozen):
    """Bounds that end a rollout with a normal stop reason. None means no bound."""

    max_turns: int = Field(default=50, ge=1)
    max_tokens: int | None = Field(default=None, ge=1)
    """Generated tokens, summed over the rollout's model calls."""
    max_seconds: float | None = Field(default=3600, gt=0)
    """Time in model calls and tools; waiting for an endpoint or a slot does not count."""
    max_malformed: int = Field(default=8, ge=1)
    """Malformed tool calls that are answered before the rollout ends as `malformed_calls`."""
    tool_seconds: float = Field(default=120, gt=0)
    """The longest that one tool call may take."""


class Task(Frozen):
    """One question for one environment. Everything in it may be shown to the model or the sandbox."""

    id: str = Field(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]*$")
    """No control characters: it is shown in lists and terminals, and no database of ours keeps a NUL."""
    environment: str
    question: str = Field(min_length=1)
    world: dict[str, Any] = {}
    """The environment's own fingerprint and inputs, parsed by that environment (`SearchWorld`, `SweWorld`,
    `SqlWorld`): corpus version, image digest and tree, database hash and table blobs."""
    split: str = "train"
    group: str = ""
    """Repository, database or document family: the unit of caps and splits."""
    dialect: str | None = None
    licence: str | None = None
    limits: Limits = Limits()

    @property
    def hash(self) -> str:
        return content_hash(self)


class Reference(Frozen):
    """What scores a task. It never reaches the model or the sandbox while the agent works.

    `data` is parsed by the environment: `SearchReference`, `SweReference`, `SqlReference`.
    """

    data: dict[str, Any] = {}
