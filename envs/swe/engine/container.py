"""One running container as a sandbox."""

import asyncio
import contextlib

import aiodocker
import aiohttp
from aiodocker.containers import DockerContainer
from aiodocker.execs import Exec
from aiodocker.stream import Stream

from envs.errors import SandboxError
from envs.swe.engine.channel import DockerChannel
from envs.swe.engine.words import engine_words
from envs.swe.machine import Machine
from envs.swe.sandbox import Limit, SandboxSpec

ENFORCES: frozenset[Limit] = frozenset(
    ("network", "filesystem", "processes", "memory", "cpu", "time", "syscalls"),
)
SWEEP_SECONDS = 20.0


class DockerSandbox(Machine):
    enforces = ENFORCES

    def __init__(self, container: DockerContainer, spec: SandboxSpec) -> None:
        super().__init__(spec)
        self.container = container

    @property
    def id(self) -> str:
        return str(self.container.id)

    async def _start(self, argv: list[str], workdir: str, stdin: bool) -> DockerChannel:
        if self._closed:
            raise SandboxError("the sandbox was closed")
        home = "/root" if self._spec.user == "root" else f"/home/{self._spec.user}"
        with engine_words("running a command in the container"):
            made: Exec = await self.container.exec(
                argv, stdin=stdin, user=self._spec.user, workdir=workdir, environment={"HOME": home}
            )
            stream = made.start(detach=False)
            assert isinstance(stream, Stream)
            await stream.__aenter__()
        return DockerChannel(made, stream)

    async def _sweep(self) -> None:
        """`kill -9 -1` as the agent's user. The watch, process 1, is root's, and the kernel spares it."""
        try:
            async with asyncio.timeout(SWEEP_SECONDS):
                channel = await self._start(["/bin/bash", "-c", "kill -9 -1"], "/", False)
                try:
                    while await channel.read():
                        pass
                finally:
                    await channel.close()
                # 1: nothing was left to kill; 137: where the agent is root the sweep may end its own shell too.
                if await channel.exit_code() in (0, 1, 137):
                    return
        except (SandboxError, TimeoutError):
            pass
        await self._restart()

    async def _restart(self) -> None:
        """The last resort, where no process can be started any more: files stay, processes do not."""
        with engine_words("restarting the container after a command that could not be ended"):
            async with asyncio.timeout(60):
                with contextlib.suppress(aiodocker.DockerError):
                    await self.container.kill(signal="SIGKILL")
                await self.container.start()

    async def _check_alive(self, killed: bool = False) -> None:
        """After a process was killed the engine may need a moment to see that the container went with it."""
        for pause in (0.0, 0.1, 0.3) if killed else (0.0,):
            await asyncio.sleep(pause)
            with engine_words("asking after the container"):
                state = (await self.container.show())["State"]
            if not state["Running"]:
                cause = "out of memory" if state.get("OOMKilled") else f"exit code {state.get('ExitCode')}"
                raise SandboxError(f"the container ended while the agent worked ({cause})")

    async def _remove(self) -> None:
        await remove(self.container)


async def remove(container: DockerContainer) -> None:
    """Remove a container, running or not. One that is gone, or an engine that is, is no trouble of ours here:
    the reaper finds what was left."""
    with contextlib.suppress(aiodocker.DockerError, aiohttp.ClientError, OSError, TimeoutError):
        async with asyncio.timeout(60):
            await container.delete(force=True, v=True)
