"""What our sandbox costs over the bare engine: starts, hand-overs, commands. Both sides in one run, in turns."""

import asyncio
import os
import statistics
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import aiodocker

from envs.errors import SandboxError
from envs.swe.bubblewrap import BubblewrapSandboxes
from envs.swe.engine.baseimage import BASE_IMAGE, ensure_base_image
from envs.swe.engine.engine import DockerSandboxes, connect, disconnect, reap
from envs.swe.engine.pool import WarmPool
from envs.swe.gitdir import File
from envs.swe.sandbox import SandboxSpec
from envs.swe.tree import seed

SERVICE = "trajc-bench"
ROUNDS = 15
FILES = {f"pkg/module_{n}.py": File(f"VALUE = {n}\n".encode() * 200) for n in range(60)}
"""A small repository: 60 files, about 150 KiB."""


def run() -> list[dict[str, Any]]:
    """Rows for the table; none, with the reason printed, where no engine answers."""
    try:
        return asyncio.run(_run())
    except SandboxError as e:
        print(f"swe: left out: {e}")
        return []


async def _run() -> list[dict[str, Any]]:
    client = connect()
    docker = DockerSandboxes()
    try:
        await ensure_base_image(client)
        spec = SandboxSpec(BASE_IMAGE, labels={"service": SERVICE}, seed=seed(FILES, "/testbed", 1000))
        rows = [
            await _ready(client, docker, spec),
            await _command(client, docker, spec),
            await _pool(spec, "samples of one task", changing=False),
            await _pool(spec, "another repository each time", changing=True),
        ]
        for count in (8, 32, 64):
            rows.append(await _at_once(client, docker, spec, count))
        rootfs = os.environ.get("TRAJC_ROOTFS")
        return rows + (await _bubblewrap(client, Path(rootfs), spec) if rootfs else [])
    finally:
        with suppress(SandboxError):
            await reap(client, live=(), service=SERVICE)
        await docker.close()
        await disconnect(client)


def _row(name: str, ours: float, other: float, bar: float) -> dict[str, Any]:
    ratio = ours / other
    return {
        "name": f"swe/{name}",
        "ours": round(ours * 1000, 1),
        "other": round(other * 1000, 1),
        "unit": "ms",
        "ratio": round(ratio, 3),
        "target": f"<={bar:g}",
        "met": ratio <= bar,
    }


async def _timed(work: Callable[[], Awaitable[Any]]) -> tuple[float, Any]:
    began = time.perf_counter()
    result = await work()
    return time.perf_counter() - began, result


async def _bare(client: aiodocker.Docker) -> Any:
    """The same image with nothing asked of it, also without a network (which would cost more): create and start."""
    config: dict[str, Any] = {"Image": BASE_IMAGE, "Cmd": ["sleep", "600"], "Labels": {"trajc.service": SERVICE}}
    config["HostConfig"] = {"NetworkMode": "none"}
    container = await client.containers.create(config)
    await container.start()
    return container


async def _ready(client: aiodocker.Docker, docker: DockerSandboxes, spec: SandboxSpec) -> dict[str, Any]:
    """A container with the repository in it, against an empty one."""
    ours, other = [], []
    for _ in range(ROUNDS):
        seconds, container = await _timed(lambda: _bare(client))
        other.append(seconds)
        await container.delete(force=True)
        seconds, sandbox = await _timed(lambda: docker.start(spec))
        ours.append(seconds)
        await sandbox.close()
    return _row("container ready / bare create+start", statistics.median(ours), statistics.median(other), 1.3)


async def _command(client: aiodocker.Docker, docker: DockerSandboxes, spec: SandboxSpec) -> dict[str, Any]:
    """A command in the agent's shell, against a bare exec through the API."""
    sandbox = await docker.start(spec)
    container = await _bare(client)
    await sandbox.run("true", 30)
    ours, other = [], []
    for _ in range(ROUNDS * 3):
        other.append((await _timed(lambda: _exec(container)))[0])
        ours.append((await _timed(lambda: sandbox.run("/bin/ls /", 30)))[0])
    await sandbox.close()
    await container.delete(force=True)
    return _row("command / bare exec", statistics.median(ours), statistics.median(other), 1.3)


async def _bubblewrap(client: aiodocker.Docker, rootfs: Path, spec: SandboxSpec) -> list[dict[str, Any]]:
    """The same two for the sandbox without a daemon, against Docker's bare calls."""
    boxes = BubblewrapSandboxes(rootfs)
    container = await _bare(client)
    starts, commands, bare_starts, bare_commands = [], [], [], []
    for _ in range(ROUNDS):
        seconds, other = await _timed(lambda: _bare(client))
        bare_starts.append(seconds)
        await other.delete(force=True)
        seconds, sandbox = await _timed(lambda: boxes.start(spec))
        starts.append(seconds)
        await sandbox.run("true", 30)
        commands.append((await _timed(partial(sandbox.run, "/bin/ls /", 30)))[0])
        bare_commands.append((await _timed(lambda: _exec(container)))[0])
        await sandbox.close()
    await container.delete(force=True)
    return [
        _row("bubblewrap ready / bare create+start", statistics.median(starts), statistics.median(bare_starts), 1.3),
        _row("bubblewrap command / bare exec", statistics.median(commands), statistics.median(bare_commands), 1.3),
    ]


async def _exec(container: Any) -> None:
    made = await container.exec(["/bin/ls", "/"])
    async with made.start(detach=False) as stream:
        while await stream.read_out() is not None:
            pass
    await made.inspect()


async def _pool(spec: SandboxSpec, what: str, changing: bool) -> dict[str, Any]:
    """Hand-over of a waiting container with the repository in it; the bar of 20 ms is taken as a ratio."""
    pool = WarmPool(DockerSandboxes(), 1)
    changed = {"pkg/module_0.py": File(b"VALUE = -1\n")}
    other = replace(spec, seed=seed({**FILES, **changed}, "/testbed", 1000)) if changing else spec
    ours = []
    try:
        for _ in range(2):
            await (await pool.start(other)).close()
            await pool.ready()
            await (await pool.start(spec)).close()
        for n in range(ROUNDS):
            assert await pool.ready() == 1
            seconds, sandbox = await _timed(partial(pool.start, other if n % 2 == 0 else spec))
            ours.append(seconds)
            await sandbox.close()
    finally:
        await pool.close()
    return _row(f"hand-over, {what} / 20 ms", statistics.median(ours), 0.020, 1.0)


async def _at_once(client: aiodocker.Docker, docker: DockerSandboxes, spec: SandboxSpec, count: int) -> dict[str, Any]:
    """Until the last of many is ready; a failure on our side raises."""
    other, containers = await _timed(lambda: asyncio.gather(*(_bare(client) for _ in range(count))))
    await asyncio.gather(*(c.delete(force=True) for c in containers))
    ours, sandboxes = await _timed(lambda: asyncio.gather(*(docker.start(spec) for _ in range(count))))
    await asyncio.gather(*(s.close() for s in sandboxes))
    return _row(f"{count} starts at once / bare", ours, other, 1.3)


if __name__ == "__main__":
    for row in run():
        print(row)
