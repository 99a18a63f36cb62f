"""The seam between the agent loop and the worlds that agents act in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from envs.blobs import BlobStore
from envs.evidence import Evidence
from envs.score import Score, Submission
from envs.task import Reference, Task
from envs.tool import ToolResult, ToolSpec


@dataclass(frozen=True)
class Site:
    """What every environment is handed: where its data lies, where blobs go, and its own plain settings."""

    root: Path
    """Folder of corpora/, databases/ and the like; environments create what they need below it."""
    blobs: BlobStore
    settings: Mapping[str, Any] = field(default_factory=dict)
    """For this environment alone, by its own documented names."""
    service: str = "trajc"
    """Names this installation on what it makes outside of `root` (containers), apart from others' there."""


class Session(Protocol):
    """One rollout's world. Two sessions never see each other's state."""

    async def call(self, tool: str, arguments: Any) -> ToolResult:
        """Run one tool. `arguments` is what `ToolSpec.parse` returned.

        What the agent did wrong is a result with `is_error`; what broke on our side is a `TrajcError`.
        """
        ...

    async def submission(self) -> Submission | None:
        """What stands handed in when a limit ends the rollout (for SWE the edits so far); None if nothing."""
        ...

    async def close(self) -> None:
        """Free everything. Called in every case, and may be called twice."""
        ...


class Environment(Protocol):
    """One kind of world: long-lived, one for each process, shared by all its sessions (pools live here)."""

    name: str
    tools: Sequence[ToolSpec]
    system_prompt: str
    takes_text: bool
    """Whether a plain message without a tool call is the answer."""

    def prompt(self, task: Task) -> str:
        """The first user message: the question and what the agent must know of its world. Pure."""
        ...

    def pin(self, task: Task, reference: Reference | None) -> tuple[Task, Reference | None]:
        """The task with its world's fingerprint filled in (versions, table blobs, materialised gold rows).

        Called once, when the task is queued. Raises `TaskError`, naming the field and the way out, if the task
        could not run or be scored. Pinning a pinned task changes nothing.
        """
        ...

    async def start(self, task: Task, owner: Mapping[str, str]) -> Session:
        """A fresh session. `owner` labels what outlives a crash (service, run, rollout, attempt)."""
        ...

    async def score(self, task: Task, reference: Reference, submission: Submission) -> Score:
        """Needs no session: teachers, imports and re-scoring use it. Raises `TrajcError` where it cannot judge."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True)
class Filled:
    """Evidence completed after a rollout."""

    pieces: tuple[Evidence, ...]
    """As many as were given, in their order."""
    words: str
    """What was done and what could not be, counted; empty where there was nothing to do."""


@runtime_checkable
class FillsEvidence(Protocol):
    """What an environment has besides where it can complete evidence once the agent has ended, outside its clock."""

    async def fill(self, pieces: Sequence[Evidence]) -> Filled:
        """Bounded in time by itself. Where it fails, the trajectory stands as it was."""
        ...
