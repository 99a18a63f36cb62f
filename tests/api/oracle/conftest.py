"""Rollouts of real environments against an oracle over real HTTP, without a queue."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import pytest

from api.oracle import Known, Library, OracleSettings, running_oracle
from envs.environment import Environment
from envs.score import Score
from rollout.client import ChatClient
from rollout.loop import run_agent
from rollout.record import Identity, Record
from rollout.trajectory import Trajectory

Driven = list[tuple[Known, Trajectory, Score | None]]
Drive = Callable[..., Awaitable[Driven]]


@pytest.fixture
def drive() -> Drive:
    """`await drive(environment, tasks, settings)`: one scored rollout for each task, a few at once. `client` goes to
    the `ChatClient`, what is left to `running_oracle`."""

    async def drive(
        environment: Environment,
        tasks: Sequence[Known],
        settings: OracleSettings | None = None,
        at_once: int = 4,
        client: Mapping[str, Any] | None = None,
        **oracle: Any,
    ) -> Driven:
        settings = settings or OracleSettings()
        slots = asyncio.Semaphore(at_once)
        async with (
            running_oracle(settings, Library(tasks, environment.prompt), **oracle) as base_url,
            ChatClient(base_url, settings.model, **(client or {})) as model,
        ):

            async def one(index: int, known: Known) -> tuple[Known, Trajectory, Score | None]:
                async with slots:
                    identity = Identity(run="run", rollout=f"r{index}", attempt=1, trajectory=f"t{index}")
                    record = Record(known.task, identity, settings.model)
                    ended = await run_agent(record, environment, model, sampling={"seed": 1}, owner={})
                    if ended.submission is None:
                        return known, ended, None
                    return known, ended, await environment.score(known.task, known.reference, ended.submission)

            async with asyncio.TaskGroup() as group:
                running = [group.create_task(one(i, known)) for i, known in enumerate(tasks)]
            return [done.result() for done in running]

    return drive
