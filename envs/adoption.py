"""Worlds that outlive the process which worked in them, and how another process takes one up.

Optional beside `Environment` and `Session`: an environment that offers neither has its rollouts replayed in a fresh
session. A container outlives its worker; a bubblewrap sandbox dies with it.
"""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from envs.environment import Session
from envs.task import Task


class NotAdopted(Exception):
    """The world cannot be taken up, or not for certain as it was left. The words say why; a fresh one will do."""


@runtime_checkable
class Outlives(Protocol):
    """A `Session` whose world may outlive this process."""

    def standing(self) -> dict[str, Any] | None:
        """What another process needs, beside what lies in the world itself, to go on from this moment: JSON. None
        where the world could not be taken up. Called between tool calls."""
        ...


@runtime_checkable
class Adopts(Protocol):
    """An `Environment` that takes up what a process that died left behind."""

    async def adopt(self, task: Task, owner: Mapping[str, str], standing: Mapping[str, Any]) -> Session:
        """The session whose `standing` this was, now `owner`'s: nobody removes it as a dead attempt's from then on.

        Nothing was called in it since; the caller knows. Raises `NotAdopted`, also where the former process may still
        be alive. Leaves a world that it does not take up as it is.
        """
        ...

    async def abandon(self, standing: Mapping[str, Any]) -> None:
        """Remove a world that will not be taken up. Never raises."""
        ...
