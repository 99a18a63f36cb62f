"""The tasks that an oracle can solve, and how a request's first message finds its task."""

import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from api.jsonl import Line
from api.problems import Problem
from api.task_lines import parse_line
from envs.blobs import MemoryBlobs
from envs.environment import Environment, Site
from envs.registry import create
from envs.task import Reference, Task


@dataclass(frozen=True)
class Known:
    task: Task
    reference: Reference


class Library:
    """Tasks by their first message and by their question.

    `prompts` gives each task's first user message; by default its environment's own `prompt`.
    """

    def __init__(self, known: Iterable[Known], prompts: Callable[[Task], str] | None = None) -> None:
        self.known = tuple(known)
        self._prompts = prompts or EnvironmentPrompts()

    @cached_property
    def _by_prompt(self) -> Mapping[str, Known]:
        return {self._prompts(one.task): one for one in self.known}

    @cached_property
    def _by_first_line(self) -> Mapping[str, tuple[Known, ...]]:
        """By the first line of the question; of tasks with one question the first is kept."""
        lines: dict[str, dict[str, Known]] = {}
        for one in self.known:
            lines.setdefault(_first_line(one.task.question), {}).setdefault(one.task.question, one)
        return {line: tuple(found.values()) for line, found in lines.items()}

    @cached_property
    def _references(self) -> Mapping[str, tuple[Reference, ...]]:
        groups: dict[str, list[Reference]] = {}
        for one in self.known:
            groups.setdefault(one.task.environment, []).append(one.reference)
        return {name: tuple(references) for name, references in groups.items()}

    def asked(self, first: str) -> Known | None:
        """The task whose prompt this message is."""
        return self._by_prompt.get(first)

    def contained(self, prompt: str) -> Known | None:
        """The task whose question stands in this compiled prompt, on lines of its own or after a label such as
        `Question: `. The one that stands first; of several that begin alike the longest."""
        for line in prompt.splitlines():
            for start in (line, line.partition(": ")[2]):
                known = self._by_first_line.get(start.strip(), ())
                found = [one for one in known if one.task.question.strip() in prompt]
                if found:
                    return max(found, key=lambda one: len(one.task.question))
        return None

    def references(self, environment: str) -> tuple[Reference, ...]:
        return self._references.get(environment, ())


def _first_line(question: str) -> str:
    return question.strip().split("\n", 1)[0].strip()


class EnvironmentPrompts:
    """`Environment.prompt` of whatever environment a task names; nothing is started."""

    def __init__(self) -> None:
        self._environments: dict[str, Environment] = {}

    def __call__(self, task: Task) -> str:
        if task.environment not in self._environments:
            site = Site(root=Path(tempfile.gettempdir()), blobs=MemoryBlobs())
            self._environments[task.environment] = create(task.environment, site)
        return self._environments[task.environment].prompt(task)


def load_tasks(*paths: Path) -> list[Known]:
    """Tasks of task files that have a reference. Raises `Problem` naming file and line."""
    known = []
    for path in paths:
        with path.open("rb") as lines:
            for number, data in enumerate(lines, 1):
                if data.strip():
                    try:
                        task, reference = parse_line(Line(number=number, data=data))
                    except Problem as e:
                        raise Problem(e.status, e.kind, f"{path}: {e.detail}", **e.extra) from None
                    if reference is not None:
                        known.append(Known(task, reference))
    return known
