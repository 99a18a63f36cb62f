"""An environment with another way to start its sessions."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from envs.environment import Environment, Session
from envs.score import Score, Submission
from envs.task import Reference, Task
from envs.tool import ToolSpec

Start = Callable[[Task, Mapping[str, str]], Awaitable[Session]]


class StartedBy:
    """An `Environment`: in all but `start` the one that it is made of."""

    def __init__(self, environment: Environment, start: Start) -> None:
        self._environment = environment
        self._start = start
        self.name: str = environment.name
        self.tools: Sequence[ToolSpec] = environment.tools
        self.system_prompt: str = environment.system_prompt
        self.takes_text: bool = environment.takes_text

    def prompt(self, task: Task) -> str:
        return self._environment.prompt(task)

    def pin(self, task: Task, reference: Reference | None) -> tuple[Task, Reference | None]:
        return self._environment.pin(task, reference)

    async def start(self, task: Task, owner: Mapping[str, str]) -> Session:
        return await self._start(task, owner)

    async def score(self, task: Task, reference: Reference, submission: Submission) -> Score:
        return await self._environment.score(task, reference, submission)

    async def close(self) -> None:
        await self._environment.close()
