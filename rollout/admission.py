"""Each stage of a rollout has a bound of its own, so that slow containers never hold what models could use.

Starting environments and scoring are bounded here; model calls are bounded by the endpoint pool. Closing is not:
what frees resources must never wait behind what takes them.
"""

import asyncio
from collections.abc import Mapping

from envs.environment import Environment, Session
from envs.task import Task
from rollout.starting import StartedBy


class Admission:
    """One for each process."""

    def __init__(self, *, starting: int = 16, scoring: int = 8) -> None:
        self.starting = asyncio.Semaphore(starting)
        self.scoring = asyncio.Semaphore(scoring)

    def to(self, environment: Environment) -> Environment:
        """The environment, with as many sessions starting at once as are allowed."""

        async def start(task: Task, owner: Mapping[str, str]) -> Session:
            async with self.starting:
                return await environment.start(task, owner)

        return StartedBy(environment, start)
