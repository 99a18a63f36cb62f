"""What every sandbox does alike: the agent's shell, our own helper's shell, programs by themselves, sweeps.

A kind of sandbox says how a program is started in it, how all of the agent's processes are ended, and whether it is
still there.
"""

import asyncio
import base64
import contextlib
import posixpath
import secrets
import shlex
import time
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Literal

from envs.errors import SandboxError
from envs.swe.output import HeadTail
from envs.swe.sandbox import Limit, Output, SandboxSpec
from envs.swe.shell import PROGRAM, Channel, Shell, State

CONDA = "/opt/miniconda3/bin/activate"
PRELUDE = f"[ -f {CONDA} ] && . {CONDA} testbed"
"""Images made for SWE-bench keep the repository's Python in a conda environment of this name."""
SHELL = ["/bin/bash", "--noprofile", "--norc", "-c", PROGRAM]
HELP_SECONDS = 30.0
DISK_SECONDS = 5.0
"""Between two looks at the disk while commands run."""
KILLED = (None, 137, -9)
NOT_STARTED = (126, 127, 128)
"""Exit statuses that a container's runtime gives, too, for what it cannot start in one that ended a moment ago."""
NO_FORK = 254
"""Of a shell that ended since it could start no process."""
HELP_TRIES = 3
INLINE_BYTES = 64 << 10
"""Up to this size a file is written through the helper's shell."""


class Machine(ABC):
    """A `Sandbox` but for the four things that depend on its kind."""

    enforces: frozenset[Limit]

    def __init__(self, spec: SandboxSpec) -> None:
        self._spec = spec
        self._state = State(spec.workdir)
        self._prelude = PRELUDE
        """What the agent's next shell runs first."""
        self._shell: Shell | None = None
        self._helper: Shell | None = None
        self._closed = False
        self._disk_seen = time.monotonic()
        """When the disk was last looked at."""

    @abstractmethod
    async def _start(self, argv: list[str], workdir: str, stdin: bool) -> Channel:
        """A program as the agent's user. Raises `SandboxError`."""

    @abstractmethod
    async def _sweep(self) -> None:
        """End every process of the agent, however it hides. Raises `SandboxError` where that fails."""

    @abstractmethod
    async def _check_alive(self, killed: bool = False) -> None:
        """Raises `SandboxError` where the sandbox is gone; `killed` says that a process in it just was."""

    @abstractmethod
    async def _disk_bytes(self) -> int:
        """Bytes of all files written in it."""

    @abstractmethod
    async def _remove(self) -> None:
        """Everything of it. Never raises."""

    @property
    def directory(self) -> str:
        return self._state.directory

    async def run(self, command: str, seconds: float) -> Output:
        if self._closed:
            raise SandboxError("the sandbox was closed")
        try:
            output = await self._watched(await self._open_shell(), command, seconds)
            if renewed := not output.begun:
                output = await self._again(output, command, seconds)
        except asyncio.CancelledError:
            await asyncio.shield(self._drop_shells())
            raise
        except SandboxError:
            await self._drop_shells()
            await self._check_alive()
            raise
        if output.fresh_shell:
            await self._drop_shells()
            if output.ended in ("timeout", "flood"):
                await self._sweep()
            elif output.ended == "exited":
                await self._check_alive(killed=output.code in (*KILLED, *NOT_STARTED))
        return replace(output, fresh_shell=output.fresh_shell or renewed)

    async def _again(self, output: Output, command: str, seconds: float) -> Output:
        """A command whose shell ended before it began, in a new one; at last with nothing else of the agent's there."""
        for sweeps in (False, True):
            if not output.begun:
                await self._drop_shells()
                await self._check_alive(killed=output.code in (*KILLED, *NOT_STARTED))
                if sweeps:
                    await self._sweep()
                output = await self._watched(await self._open_shell(), command, seconds)
        return output

    async def _watched(self, shell: Shell, command: str, seconds: float) -> Output:
        """The command, ended by a sweep when the disk is found too full: while it runs, after it ran for long, or
        after many short ones."""
        full = False

        async def look() -> bool:
            self._disk_seen = time.monotonic()
            return await self._disk_bytes() > self._spec.bounds.disk_bytes

        async def watch() -> None:
            nonlocal full
            while not full:
                await asyncio.sleep(DISK_SECONDS)
                full = await look()
            await self._sweep()

        watching = asyncio.create_task(watch())
        try:
            output = await shell.run(command, seconds)
            due = output.seconds > 1 or time.monotonic() - self._disk_seen > DISK_SECONDS
            if due and not full and output.ended == "exited":
                full = await look()
                if full:
                    await self._sweep()
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError, SandboxError):
                await watching
        return replace(output, ended="disk", code=None, fresh_shell=True) if full else output

    async def execute(self, argv: list[str], seconds: float, stdin: bytes = b"", workdir: str = "/") -> Output:
        output = await self._executed(argv, seconds, stdin, workdir)
        if not _crowded_out(output):
            return output
        await self._drop_shells()
        await self._sweep()
        return await self._executed(argv, seconds, stdin, workdir)

    async def _executed(self, argv: list[str], seconds: float, stdin: bytes, workdir: str) -> Output:
        if stdin:
            argv = ["/bin/sh", "-c", 'head -c "$0" | "$@"', str(len(stdin)), *argv]
        kept = HeadTail(self._spec.bounds.keep_bytes)
        began = time.monotonic()
        channel = await self._start(["/bin/sh", "-c", 'exec "$0" "$@" 2>&1', *argv], workdir, bool(stdin))
        ended: Literal["exited", "timeout", "flood"] = "exited"
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
            await self._drop_shells()
            await self._sweep()
        elif code in (*KILLED, *NOT_STARTED):
            await self._check_alive(killed=True)
            if code is None:
                raise SandboxError(f"the connection to {argv[0]} was lost before it ended; nobody knows its exit code")
        data, left_out, cut_at = kept.result()
        return Output(data, left_out, cut_at, code, ended, time.monotonic() - began)

    async def read(self, path: str, limit: int) -> bytes | None:
        quoted = shlex.quote(path)
        # What the shell itself has to say, as where a process can be started at the second try only, is no content.
        output = await self._help(f"{{ test -f {quoted} && head -c {limit} -- {quoted}; }} 2>/dev/null")
        return output.data if output.ok and not output.left_out else None

    async def write(self, path: str, data: bytes) -> str:
        target, parent = shlex.quote(path), shlex.quote(posixpath.dirname(path) or "/")
        if len(data) <= INLINE_BYTES:
            text = base64.b64encode(data).decode()
            output = await self._help(f"{_to_file(target, parent)} && base64 -d <<< '{text}' > {target}")
        else:
            program = f"{_to_file(target, parent)} && cat > {target}"
            output = await self.execute(["/bin/bash", "-c", program], 60, stdin=data)
        return "" if output.ok else output.data.decode("utf-8", "replace").strip() or f"ended by {output.ended}"

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(SandboxError):
            await self._drop_shells()
        await asyncio.shield(self._remove())

    async def _open_shell(self) -> Shell:
        if self._shell is None:
            self._shell = await self._shell_in(self._state, self._prelude, f"/tmp/.trajc-{secrets.token_hex(8)}")
            self._prelude = PRELUDE
        return self._shell

    async def _help(self, command: str) -> Output:
        """Our own reads and writes, in a second shell of the agent's user. The agent may have killed it, or left it no
        process to start: then the agent's are ended."""
        for tries in range(HELP_TRIES):
            if self._helper is None:
                self._helper = await self._shell_in(State("/"), "")
            output = await self._helper.run(command, HELP_SECONDS)
            if not output.fresh_shell:
                return output
            await self._drop_shells(agents=False)
            await self._check_alive()
            if output.ended == "timeout":
                break  # the file itself keeps who touches it waiting, and would again
            if tries or output.code == NO_FORK:
                await self._drop_shells()
                await self._sweep()
        return output

    async def _shell_in(self, state: State, prelude: str, left: str = "") -> Shell:
        channel = await self._start(SHELL, "/", True)
        try:
            return await Shell.open(channel, state, self._spec.bounds, prelude, left)
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


def _crowded_out(output: Output) -> bool:
    """Whether a program of ours could start no process. Who prints these words for nothing ends his own processes."""
    return not output.ok and b"Resource temporarily unavailable" in output.data


def _to_file(target: str, parent: str) -> str:
    """Make way for a file; what is there and is none (a pipe would wait for a reader) is refused."""
    odd = f"[ -e {target} ] && [ ! -f {target} ]"
    return f"mkdir -p -- {parent} && if {odd}; then echo it is no regular file; false; fi"
