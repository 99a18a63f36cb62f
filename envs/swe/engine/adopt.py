"""Taking up the container of an attempt whose worker died, and telling whose a container is.

Labels cannot change, but names can: a container that was adopted bears its new owner in its name, and that counts.
"""

import asyncio
import contextlib
import time
from collections.abc import Mapping
from typing import Any

import aiodocker
from aiodocker.containers import DockerContainer

from envs.adoption import NotAdopted
from envs.errors import SandboxError
from envs.swe.engine.container import DockerSandbox, remove
from envs.swe.engine.options import EXPIRES
from envs.swe.engine.owner import may_live
from envs.swe.engine.words import engine_words
from envs.swe.sandbox import SandboxSpec

NAME = "trajc.owner"
"""Adopted containers are called `trajc.owner.ROLLOUT.ATTEMPT`."""


def owner_of(labels: Mapping[str, str], name: str) -> str:
    """`ROLLOUT/ATTEMPT`, of which either may be empty."""
    name = name.removeprefix("/")
    if name.startswith(f"{NAME}."):
        rollout, _, attempt = name.removeprefix(f"{NAME}.").rpartition(".")
        return f"{rollout}/{attempt}"
    return f"{labels.get('trajc.rollout', '')}/{labels.get('trajc.attempt', '')}"


async def adopt(client: aiodocker.Docker, spec: SandboxSpec, standing: Mapping[str, Any]) -> DockerSandbox:
    """The sandbox whose `standing` this was, which belongs to `spec`'s labels from then on. Raises `NotAdopted`."""
    if may_live(standing["process"]):
        raise NotAdopted("the process that had it is still there")
    container = client.containers.container(standing["container"])
    try:
        with engine_words("asking after the container"):
            found = await container.show()
        _check(found, spec)
        sandbox = DockerSandbox(container, spec)
        await sandbox.take_up(standing)
        with engine_words("taking over the container"):
            await container.rename(f"{NAME}.{spec.labels['rollout']}.{spec.labels['attempt']}")
    except SandboxError as e:
        raise NotAdopted(str(e)) from e
    return sandbox


def _check(found: Mapping[str, Any], spec: SandboxSpec) -> None:
    labels = found["Config"]["Labels"]
    for name in ("service", "host", "rollout"):
        if labels.get(f"trajc.{name}") != spec.labels.get(name):
            raise NotAdopted(f"its container's label trajc.{name} is {labels.get(f'trajc.{name}')!r}")
    if not found["State"]["Running"]:
        raise NotAdopted("its container has ended")
    if float(labels.get(EXPIRES, "inf")) < time.time():
        raise NotAdopted("its container has expired")


async def abandon(client: aiodocker.Docker, standing: Mapping[str, Any]) -> None:
    """Remove the container, unless its worker may be alive, who does so itself. Never raises."""
    if not may_live(standing["process"]):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(60):
                await remove(client.containers.container(standing["container"]))


async def owner_now(container: DockerContainer) -> str:
    """As `owner_of`, asked again: what a list said may be old. Raises `SandboxError`."""
    with engine_words("asking whose a container is"):
        found = await container.show()
    return owner_of(found["Config"]["Labels"], found["Name"])
