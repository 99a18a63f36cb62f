"""One running container as a sandbox."""

import asyncio
import base64
import contextlib
import posixpath
import shlex
import time

import aiodocker
import aiohttp
from aiodocker.containers import DockerContainer
from aiodocker.execs import Exec
from aiodocker.stream import Stream

from envs.errors import SandboxError
from envs.swe.engine.channel import DockerChannel
from envs.swe.engine.words import engine_words
from envs.swe.output import HeadTail
from envs.swe.sandbox import Limit, Output, SandboxSpec
from envs.swe.shell import PROGRAM, Shell, State

ENFORCES: frozenset[Limit] = frozenset(
    ("network", "filesystem", "processes", "memory", "cpu", "time", "syscalls"),
)
CONDA = "/opt/miniconda3/bin/activate"
PRELUDE = f"[ -f {CONDA} ] && . {CONDA} testbed"
"""Images made for SWE-bench keep the repository's Python in a conda environment of this name."""
SWEEP_SECONDS = 20.0
HELP_SECONDS = 30.0
KILLED = (None, 137)
INLINE_BYTES = 64 << 10
"""Up to this size a file is written through the helper's shell."""


class DockerSandbox:
    enforces = ENFORCES

    def __init__(self, container: DockerContainer, spec: SandboxSpec) -> None:
        self.container = container
        self._spec = spec
        self._state = State(spec.workdir)
        self._shell: Shell | None = None
        self._helper: Shell | None = None
        self._closed = False

    @property
    def id(self) -> str:
        return str(self.container.id)

    @property
    def directory(self) -> str:
        return self._state.directory

    async def run(self, command: str, seconds: float) -> Output:
        try:
            shell = await self._open_shell()
            output = await shell.run(command, seconds)
        except asyncio.CancelledError:
            await asyncio.shield(self._drop_shells())
            raise
        except SandboxError:
            await self._drop_shells()
            await self._check_alive()
            raise
        if output.fresh_shell:
            await self._drop_shells()
            if output.ended != "exited":
                await self.sweep()
            else:
                await self._check_alive(killed=output.code in KILLED)
        return output

    async def execute(self, argv: list[str], seconds: float, stdin: bytes = b"", workdir: str = "/") -> Output:
        if stdin:
            argv = ["/bin/sh", "-c", 'head -c "$0" | "$@"', str(len(stdin)), *argv]
        kept = HeadTail(self._spec.bounds.keep_bytes)
        began = time.monotonic()
        channel = await self._start(["/bin/sh", "-c", 'exec "$0" "$@" 2>&1', *argv], workdir, bool(stdin))
        ended = "exited"
        try:
            async with asyncio.timeout(seconds):
                if stdin:
                    await channel.write(stdin)
                while chunk := await channel.read():
                    kept.feed(chunk)
                    if kept.total > self._spec.bounds.flood_bytes:
                        ended = "flood"
                        break
        except TimeoutError:
            ended = "timeout"
        finally:
            await channel.close()
        code = await channel.exit_code() if ended == "exited" else None
        if ended != "exited":
            await self.sweep()
        elif code in KILLED:
            await self._check_alive(killed=True)
        data, left_out, cut_at = kept.result()
        return Output(data, left_out, cut_at, code, ended, time.monotonic() - began)  # type: ignore[arg-type]

    async def read(self, path: str, limit: int) -> bytes | None:
        quoted = shlex.quote(path)
        output = await self._help(f"test -f {quoted} && head -c {limit} -- {quoted}")
        return output.data if output.ok and not output.left_out else None

    async def write(self, path: str, data: bytes) -> str:
        target, parent = shlex.quote(path), shlex.quote(posixpath.dirname(path) or "/")
        if len(data) <= INLINE_BYTES:
            text = base64.b64encode(data).decode()
            output = await self._help(f"mkdir -p -- {parent} && base64 -d <<< '{text}' > {target}")
        else:
            program = f"mkdir -p -- {parent} && cat > {target}"
            output = await self.execute(["/bin/bash", "-c", program], 60, stdin=data)
        return "" if output.ok else output.data.decode("utf-8", "replace").strip() or f"ended by {output.ended}"

    async def sweep(self) -> None:
        """Kill every process of the agent. The watch, process 1, is root's, and the kernel spares it."""
        try:
            async with asyncio.timeout(SWEEP_SECONDS):
                channel = await self._start(["/bin/bash", "-c", "kill -9 -1"], "/", False)
                try:
                    while await channel.read():
                        pass
                finally:
                    await channel.close()
                # 137: where the agent is root the sweep may end its own shell too.
                if await channel.exit_code() in (0, 1, 137):
                    return
        except (SandboxError, TimeoutError):
            pass
        await self._restart()

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(SandboxError):
            await self._drop_shells()
        await asyncio.shield(remove(self.container))

    async def _open_shell(self) -> Shell:
        if self._shell is None:
            self._shell = await self._shell_in(self._state, PRELUDE)
        return self._shell

    async def _help(self, command: str) -> Output:
        """Our own reads and writes, in a second shell of the agent's user. The agent may have killed it."""
        for _ in range(2):
            if self._helper is None:
                self._helper = await self._shell_in(State("/"), "")
            output = await self._helper.run(command, HELP_SECONDS)
            if not output.fresh_shell:
                return output
            await self._drop_shells(agents=False)
            await self._check_alive()
        return output

    async def _shell_in(self, state: State, prelude: str) -> Shell:
        channel = await self._start(["/bin/bash", "--noprofile", "--norc", "-c", PROGRAM], "/", True)
        try:
            return await Shell.open(channel, state, self._spec.bounds, prelude)
        except BaseException:
            await channel.close()
            raise

    async def _drop_shells(self, agents: bool = True) -> None:
        shells = [self._helper] + ([self._shell] if agents else [])
        self._helper = None
        if agents:
            self._shell = None
        for shell in shells:
            if shell is not None:
                await shell.close()

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
                break
        if not state["Running"]:
            cause = "out of memory" if state.get("OOMKilled") else f"exit code {state.get('ExitCode')}"
            raise SandboxError(f"the container ended while the agent worked ({cause})")


async def remove(container: DockerContainer) -> None:
    """Remove a container, running or not. One that is gone, or an engine that is, is no trouble of ours here:
    the reaper finds what was left."""
    with contextlib.suppress(aiodocker.DockerError, aiohttp.ClientError, OSError, TimeoutError):
        async with asyncio.timeout(60):
            await container.delete(force=True, v=True)
