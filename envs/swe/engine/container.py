"""One running container as a sandbox."""

import asyncio
import contextlib
import re
import shlex
import sys
from collections.abc import Mapping
from typing import Any

import aiodocker
import aiohttp
from aiodocker.containers import DockerContainer
from aiodocker.execs import Exec
from aiodocker.stream import Stream

from envs.adoption import NotAdopted
from envs.errors import SandboxError
from envs.swe.engine.channel import DockerChannel
from envs.swe.engine.owner import this_process
from envs.swe.engine.words import engine_words
from envs.swe.gitdir import BASE_REPOSITORY
from envs.swe.machine import PRELUDE, Machine
from envs.swe.sandbox import Limit, SandboxSpec
from envs.swe.shell import State

ENFORCES: frozenset[Limit] = frozenset(
    ("network", "filesystem", "processes", "memory", "cpu", "time", "syscalls", "disk"),
)
SWEEP_SECONDS = 20.0
HAND_OVER_SECONDS = 30.0
CLEAR_SECONDS = 60.0
LEFT_LOOKS = 12
"""At a dead worker's shell, a quarter of a second apart, until it has left its state."""
CLEAR = """
cd "$0" 2>/dev/null || exit 0
[ -e .git ] || exec find . -mindepth 1 -delete
list() { git -c safe.directory="*" ls-files -z "$@"; }
list > /tmp/.tracked && list --stage | grep -z '^160000 ' > /tmp/.modules
list --others --directory --exclude=__pycache__ --exclude=.pytest_cache --exclude-per-directory=.gitignore \\
  > /tmp/.built || exit 1
xargs -0 rm -f -- < /tmp/.tracked 2> /tmp/.kept || [ -s /tmp/.modules ] || { cat /tmp/.kept; exit 1; }
find . -type d \\( -name __pycache__ -o -name .pytest_cache \\) -prune -exec rm -rf {} +
cat /tmp/.built /tmp/.modules
rm -rf .git /tmp/.tracked /tmp/.built /tmp/.modules /tmp/.kept
"""
"""Compiled modules and notes of test runs tell of tests and sources that are not there any more. What it says last is
what stays of what the repository does not ignore: files that were built, and submodules."""
ODD = re.compile(rb"[\\*?!#\[\]\s]")
BASE_FILES = "var/lib"
"""Where the seed's files that belong to root lie; root has no capability to write the agent's, nor the reverse."""
UNPACK = (
    "echo ready; tar --extract --read-full-records --no-same-owner --preserve-permissions --directory / --file - "
    '--anchored "$0" 2>&1 && echo unpacked'
)
"""It waits as a `tar` that was started already; the archive's own end ends it."""


class DockerSandbox(Machine):
    enforces = ENFORCES

    def __init__(self, container: DockerContainer, spec: SandboxSpec) -> None:
        super().__init__(spec)
        self.container = container
        self._unpacking: list[DockerChannel] = []
        self._left = ""
        """What an earlier worker's shell left, until a new one has read it."""
        self.loaded: bytes | None = None
        """The seed that a waiting container holds already."""

    @property
    def id(self) -> str:
        return str(self.container.id)

    def standing(self) -> dict[str, Any] | None:
        """What another process needs to `take_up` this container; None where its shell will leave nothing."""
        left = self._shell.left if self._shell is not None else self._left
        if self._shell is not None and not left:
            return None
        return {
            "container": self.id,
            "process": this_process(),
            "left": left,
            "directory": self._state.directory.encode("utf-8", "surrogateescape").decode("latin-1"),  # any bytes
            "exports": self._state.exports.decode("latin-1") if not left else "",
        }

    async def take_up(self, standing: Mapping[str, Any]) -> None:
        """Go on as the shell would that wrote into the file `left` when its worker died. Raises `NotAdopted`."""
        directory = standing["directory"].encode("latin-1").decode("utf-8", "surrogateescape")
        self._state = State(directory, standing["exports"].encode("latin-1"))
        self._left = standing["left"]
        if not self._left:
            return
        file = shlex.quote(self._left)
        for _ in range(LEFT_LOOKS):
            ends = (await self._help(f"head -n 1 {file} && tail -n 1 {file}")).data
            if ends == b"# \n# end\n":
                self._prelude = f". {file}\nrm -f -- {file}"
                return
            if ends.startswith(b"# busy"):
                break
            await asyncio.sleep(0.25)
        await self._drop_shells()
        raise NotAdopted(
            f"its shell {'had jobs in the background' if ends[:6] == b'# busy' else 'did not end in order'}"
        )

    async def clear(self) -> None:
        """Put the seed in the place of what the image had under version control. Raises `SandboxError`."""
        output = await self.execute(["/bin/sh", "-c", CLEAR, self._spec.workdir], CLEAR_SECONDS)
        if not output.ok:
            words = output.data.decode("utf-8", "replace").strip()[-300:]
            raise SandboxError(f"{self._spec.workdir} of {self._spec.image} could not be cleared: {words}")
        with engine_words("putting the repository into the container"):
            await self.container.put_archive("/", self._spec.seed)  # type: ignore[no-untyped-call]
        if built := _patterns(output.data):
            files = [f"{folder}/info/exclude" for folder in (f"{self._spec.workdir}/.git", BASE_REPOSITORY)]
            output = await self.execute(["tee", "-a", "--", *files], CLEAR_SECONDS, stdin=built)
            if not output.ok:
                words = output.data.decode("utf-8", "replace").strip()[-300:]
                raise SandboxError(f"what {self._spec.image} has built could not be told from edits: {words}")

    async def prepare(self) -> None:
        """Open what a hand-over will need: a shell, and somebody who unpacks the seed."""
        self._shell = await self._shell_in(State("/"), PRELUDE)
        for user, part in (("root", BASE_FILES), (self._spec.user, f"--exclude={BASE_FILES}")):
            channel = await self._start(["/bin/bash", "-c", UNPACK, part], "/", True, user)
            self._unpacking.append(channel)
            if await channel.read() != b"ready\n":
                raise SandboxError(f"{self._spec.image} cannot wait for a repository: it needs bash and tar")

    async def load(self, seed: bytes) -> None:
        """Unpack a seed, once; the sandbox can then be handed over to nobody but who wants this one."""
        unpacking, self._unpacking = self._unpacking, []
        if not unpacking or self._shell is None:
            raise SandboxError("the waiting container was not prepared")
        try:
            async with asyncio.timeout(HAND_OVER_SECONDS):
                said = await asyncio.gather(*(_unpacked(channel, seed) for channel in unpacking))
        except TimeoutError:
            said = ["it took too long"]
        finally:
            for channel in unpacking:
                await channel.close()
        if any(said):
            raise SandboxError(f"the waiting container could not be filled: {' '.join(said)}")
        self.loaded = seed

    async def hand_over(self, spec: SandboxSpec) -> None:
        """Become `spec`'s sandbox; its image, user and bounds must be the ones it was started with."""
        if self.loaded is None:
            await self.load(spec.seed)
        if self.loaded != spec.seed or self._shell is None:
            raise SandboxError("the waiting container holds another repository")
        self.loaded = None
        self._spec = spec
        self._state = State(spec.workdir)
        self._shell.adopt(self._state)
        moved = await self._shell.run(f"cd -- {shlex.quote(spec.workdir)}", HAND_OVER_SECONDS)
        if not moved.ok:
            raise SandboxError(f"the waiting container has no {spec.workdir}")

    async def _start(self, argv: list[str], workdir: str, stdin: bool, user: str = "") -> DockerChannel:
        if self._closed:
            raise SandboxError("the sandbox was closed")
        home = "/root" if self._spec.user == "root" else f"/home/{self._spec.user}"
        with engine_words("running a command in the container"):
            made: Exec = await self.container.exec(
                argv,
                stdin=stdin,
                user=user or self._spec.user,
                workdir=workdir,
                environment={"HOME": home},
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
        for pause in (0.0, 0.1, 0.3, 0.6) if killed else (0.0,):
            await asyncio.sleep(pause)
            with engine_words("asking after the container"):
                state = (await self.container.show())["State"]
            if not state["Running"]:
                cause = "out of memory" if state.get("OOMKilled") else f"exit code {state.get('ExitCode')}"
                raise SandboxError(f"the container ended while the agent worked ({cause})")

    async def _disk_bytes(self) -> int:
        with engine_words("asking for the container's size"):
            size = int((await self.container.show(size="1")).get("SizeRw") or 0)
        # The engine says -1 where it could not look everywhere: in folders deeper than a path may be long.
        return size if size >= 0 else sys.maxsize

    async def _remove(self) -> None:
        await remove(self.container)


def _patterns(said: bytes) -> bytes:
    """Lines of a git exclude file for what `CLEAR` said stays."""
    paths = [word.partition(b"\t")[2] if word.startswith(b"160000 ") else word for word in said.split(b"\0")]
    return b"".join(b"/" + ODD.sub(rb"\\\g<0>", path) + b"\n" for path in paths if path and b"\n" not in path)


async def _unpacked(channel: DockerChannel, seed: bytes) -> str:
    """Send a seed to somebody who unpacks it; "" or what went wrong."""
    await channel.write(seed)
    said = b""
    while not said.endswith(b"unpacked\n") and (chunk := await channel.read()):
        said += chunk
    return said.removesuffix(b"unpacked\n").decode("utf-8", "replace").strip()


async def remove(container: DockerContainer) -> None:
    """Remove a container, running or not. One that is gone, or an engine that is, is no trouble of ours here:
    the reaper finds what was left."""
    with contextlib.suppress(aiodocker.DockerError, aiohttp.ClientError, OSError, TimeoutError):
        async with asyncio.timeout(60):
            await container.delete(force=True, v=True)
