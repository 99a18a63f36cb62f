"""Each stage of a rollout has a bound of its own, so that slow containers never hold what models could use.

Starting environments and scoring are bounded here; model calls are bounded by the endpoint pool. Closing is not:
what frees resources must never wait behind what takes them.
"""

import asyncio
from collections.abc import Mapping, Sequence

from envs.environment import Environment, Session
from envs.score import Score, Submission
from envs.task import Reference, Task
from envs.tool import ToolSpec


class Admission:
    """One for each process."""

    def __init__(self, *, starting: int = 16, scoring: int = 8) -> None:
        self.starting = asyncio.Semaphore(starting)
        self.scoring = asyncio.Semaphore(scoring)

    def to(self, environment: Environment) -> Environment:
        """The environment, with as many sessions starting at once as are allowed."""
        return _Admitted(environment, self.starting)


class _Admitted:
    def __init__(self, environment: Environment, starting: asyncio.Semaphore) -> None:
        self._environment = environment
        self._starting = starting
        self.name: str = environment.name
        self.tools: Sequence[ToolSpec] = environment.tools
        self.system_prompt: str = environment.system_prompt
        self.takes_text: bool = environment.takes_text

    def prompt(self, task: Task) -> str:
        return self._environment.prompt(task)

    def pin(self, task: Task, reference: Reference | None) -> tuple[Task, Reference | None]:
        return self._environment.pin(task, reference)

    async def start(self, task: Task, owner: Mapping[str, str]) -> Session:
        async with self._starting:
            return await self._environment.start(task, owner)

    async def score(self, task: Task, reference: Reference, submission: Submission) -> Score:
        return await self._environment.score(task, reference, submission)

    async def close(self) -> None:
        await self._environment.close()
