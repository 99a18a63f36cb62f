"""What a policy sees and what it decides: the steps so far, and the next assistant message."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from api.oracle.chance import Chance
from envs.task import Reference, Task


@dataclass(frozen=True)
class Step:
    """One tool call of the conversation and what the tool answered."""

    name: str
    arguments: Mapping[str, Any]
    """Empty where what was sent is no JSON object."""
    text: str
    turn: int
    """Index of the assistant message, from 0."""


@dataclass(frozen=True)
class Call:
    name: str
    arguments: dict[str, Any] | str = field(default_factory=dict)
    """An object, or the raw text to send as it is."""


@dataclass(frozen=True)
class Move:
    """The next assistant message: tool calls, or a plain text."""

    calls: tuple[Call, ...] = ()
    text: str | None = None
    thought: str = ""


def call(name: str, thought: str = "", **arguments: Any) -> Move:
    return Move(calls=(Call(name, arguments),), thought=thought)


def say(text: str, thought: str = "") -> Move:
    return Move(text=text, thought=thought)


@dataclass(frozen=True)
class Moment:
    """All that a policy decides from. Policies are pure functions of it."""

    task: Task
    reference: Reference
    steps: tuple[Step, ...]
    turn: int
    """Assistant messages so far, without those whose tool call this oracle broke."""
    chance: Chance
    """Scoped to seed, task and sample."""
    wrong: bool = False
    """Whether this sample ends with a near miss."""
    detours: float = 0.0
    tools: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """JSON schema of each offered tool's arguments."""
    others: tuple[Reference, ...] = ()
    """References of other tasks of the environment: where a wrong answer of the same kind may come from."""

    def of(self, *tools: str) -> tuple[Step, ...]:
        """The steps that called one of these tools."""
        return tuple(step for step in self.steps if step.name in tools)

    def detour(self, what: str) -> bool:
        """Whether to stray at this turn."""
        return self.chance.happens(self.detours, "detour", what, self.turn)


Policy = Callable[[Moment], Move]
