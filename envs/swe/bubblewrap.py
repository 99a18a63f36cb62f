"""Sandboxes without a daemon: bubblewrap's namespaces over a root file system that nobody can write.

Weaker than a container, and it says so: memory, CPU and system calls are not bounded for the sandbox as a whole.
Only the repository, /tmp and the agent's home can be written.
"""

import asyncio
import contextlib
import io
import os
import random
import shutil
import signal
import subprocess
import tarfile
import tempfile
from pathlib import Path

from envs.errors import SandboxError
from envs.swe.engine.options import ENVIRONMENT
from envs.swe.engine.owner import may_live, this_process
from envs.swe.machine import Machine
from envs.swe.sandbox import Limit, SandboxSpec

AGENT_ID = 1000
OUTER_IDS = range(200_000, 260_000)
"""Where the service is root, each sandbox runs under a user id of its own, so that its processes can be counted."""
PASSWD = "root:x:0:0:root:/root:/bin/bash\nagent:x:1000:1000::/home/agent:/bin/bash\n"
GROUP = "root:x:0:\nagent:x:1000:\n"
BOUNDED = 'exec 3<&$0-; ulimit -c 0 -n "$1" -f "$2" -v "$3"; [ "$4" = 0 ] || ulimit -u "$4"; shift 4; exec "$@"'
"""Bubblewrap's options are in descriptor 3, whatever it was here: what an agent sees is the same each time."""
READ_SIZE = 1 << 16
KILL_SECONDS = 10.0
PREFIX = "trajc-bwrap-"
INODE_BYTES = 1024
"""What each file counts for beside its bytes."""


class BubblewrapSandboxes:
    """`rootfs` is an unpacked Debian with Python, pytest and git; it is never written."""

    def __init__(self, rootfs: Path | None) -> None:
        self._rootfs = rootfs
        self._reaped = False
        counted: tuple[Limit, ...] = ("processes",) if os.geteuid() == 0 else ()
        self.enforces: frozenset[Limit] = frozenset(("network", "filesystem", "time", "disk", *counted))

    async def start(self, spec: SandboxSpec) -> "BubblewrapSandbox":
        program = shutil.which("bwrap")
        if program is None:
            raise SandboxError("bubblewrap is not installed (`apt-get install bubblewrap`)")
        if self._rootfs is None or not (self._rootfs / "usr" / "bin").is_dir():
            wrong = f"{self._rootfs} is none" if self._rootfs else "none is named"
            raise SandboxError(
                f"bubblewrap needs a root file system and {wrong}; unpack one (debootstrap, or an "
                "exported container) and name its folder in the setting `rootfs`"
            )
        spec.refuse_unless(self.enforces)
        if spec.network:
            raise SandboxError("a bubblewrap sandbox has no network to give; use docker")
        outer = random.choice(OUTER_IDS) if os.geteuid() == 0 else None
        if not self._reaped:
            self._reaped = True
            await asyncio.to_thread(_reap)
        folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{this_process()}-"))
        try:
            await asyncio.to_thread(_furnish, folder, spec, outer)
        except BaseException:
            await asyncio.to_thread(_erase, folder)
            raise
        sandbox = BubblewrapSandbox(program, self._rootfs, folder, outer, spec, self.enforces)
        probe = await sandbox.execute(["/bin/true"], 20)
        if not probe.ok:
            await sandbox.close()
            words = probe.data.decode("utf-8", "replace").strip() or f"exit code {probe.code}"
            raise SandboxError(f"bubblewrap cannot make a sandbox here: {words}")
        return sandbox

    async def close(self) -> None:
        return


class BubblewrapSandbox(Machine):
    """Each shell and each program is a namespace of processes of its own over the same files."""

    def __init__(
        self, program: str, rootfs: Path, folder: Path, outer: int | None, spec: SandboxSpec, enforces: frozenset[Limit]
    ) -> None:
        super().__init__(spec)
        self.enforces = enforces
        self._argv = _bounded(program, outer, spec)
        self._options = b"".join(option.encode() + b"\0" for option in _options(rootfs, folder, spec))
        self._folder = folder
        self._outer = outer
        self._running: set[ProcessChannel] = set()

    async def _start(self, argv: list[str], workdir: str, stdin: bool) -> "ProcessChannel":
        if self._closed:
            raise SandboxError("the sandbox was closed")
        if not self._folder.is_dir():
            raise SandboxError("the sandbox's folder is gone")
        # What stands on its command line is told to whom it holds: nothing of the host.
        options = os.memfd_create("options")
        output, written = os.pipe()
        try:
            if self._outer is not None:
                os.fchown(written, self._outer, self._outer)  # or nobody could open it again, as /dev/stdout
            os.write(options, self._options)
            os.lseek(options, 0, os.SEEK_SET)
            process = await asyncio.create_subprocess_exec(
                *("/bin/bash", "-c", BOUNDED, str(options)),
                *self._argv,
                *("--args", "3", "--chdir", workdir, "--"),
                *argv,
                stdin=asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL,
                stdout=written,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
                cwd="/",
                env={"PATH": os.defpath},
                pass_fds=(options,),
            )
        except BaseException:
            os.close(output)
            raise
        finally:
            os.close(options)
            os.close(written)
        channel = ProcessChannel(process, *await _reader(output))
        self._running = {c for c in self._running if not c.ended} | {channel}
        return channel

    async def _sweep(self) -> None:
        for channel in tuple(self._running):
            await channel.close()
        self._running.clear()

    async def _check_alive(self, killed: bool = False) -> None:  # noqa: ARG002
        if not self._folder.is_dir():
            raise SandboxError("the sandbox's folder is gone")

    async def _disk_bytes(self) -> int:
        return await asyncio.to_thread(_size, self._folder)

    async def _remove(self) -> None:
        await self._sweep()
        await asyncio.to_thread(_erase, self._folder)


class ProcessChannel:
    """A bubblewrap process's input and output."""

    def __init__(
        self, process: asyncio.subprocess.Process, output: asyncio.StreamReader, pipe: asyncio.ReadTransport
    ) -> None:
        self._process = process
        self._output = output
        self._pipe = pipe
        self._reading = False

    @property
    def ended(self) -> bool:
        return self._process.returncode is not None

    async def write(self, data: bytes) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._process.stdin.write(data)
            await self._process.stdin.drain()

    async def read(self) -> bytes:
        self._reading = True
        try:
            return await self._output.read(READ_SIZE)
        finally:
            self._reading = False

    async def close(self) -> None:
        """Ends the program and whatever it started: they share a namespace that goes with it."""
        if self._output.at_eof():
            # A program whose output ended is about to go; its own exit code is worth a moment.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), 0.5)
        if not self.ended:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        # Its output ends with the last of what it started, which counts among the agent's processes until then.
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(KILL_SECONDS):
                    while not self._reading and await self._output.read(READ_SIZE):
                        pass
                    await self._process.wait()
        finally:
            self._pipe.close()

    async def exit_code(self) -> int | None:
        try:
            return await asyncio.wait_for(self._process.wait(), 5)
        except TimeoutError:
            return None


async def _reader(pipe: int) -> tuple[asyncio.StreamReader, asyncio.ReadTransport]:
    """What comes out of a pipe; closing the transport closes it."""
    reader = asyncio.StreamReader()
    file = os.fdopen(pipe, "rb", 0)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), file
    )
    return reader, transport


def _bounded(program: str, outer: int | None, spec: SandboxSpec) -> list[str]:
    """What `BOUNDED` is given: bounds of each process, and bubblewrap without its options."""
    bounds = spec.bounds
    argv = [str(bounds.open_files), str(bounds.file_bytes // 1024), str(bounds.memory_bytes // 1024)]
    argv.append(str(bounds.processes if outer is not None else 0))
    if outer is not None:
        # Not every event loop can start a program as another user.
        argv += ["setpriv", f"--reuid={outer}", f"--regid={outer}", "--clear-groups", "--"]
    return [*argv, program]


def _options(rootfs: Path, folder: Path, spec: SandboxSpec) -> list[str]:
    """Bubblewrap's: namespaces, then what is to be seen."""
    argv = ["--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    argv += ["--uid", str(AGENT_ID), "--gid", str(AGENT_ID), "--hostname", "sandbox", "--clearenv"]
    for name, value in {**ENVIRONMENT, "HOME": "/home/agent", "USER": "agent"}.items():
        argv += ["--setenv", name, value]
    for name in ("usr", "etc", "opt"):
        if (rootfs / name).is_dir():
            argv += ["--ro-bind", str(rootfs / name), f"/{name}"]
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        path = rootfs / name
        if path.is_symlink():
            argv += ["--symlink", os.readlink(path), f"/{name}"]
        elif path.is_dir():
            argv += ["--ro-bind", str(path), f"/{name}"]
    argv += ["--ro-bind", str(folder / "passwd"), "/etc/passwd", "--ro-bind", str(folder / "group"), "/etc/group"]
    argv += ["--proc", "/proc", "--dev", "/dev", "--dir", "/var/lib", "--dir", "/home"]
    # What is written below these is the machine's memory.
    for name in ("/run", "/dev/shm"):
        argv += ["--size", str(spec.bounds.shared_memory_bytes), "--tmpfs", name]
    argv += ["--bind", str(folder / "tmp"), "/tmp", "--bind", str(folder / "home"), "/home/agent"]
    if (folder / "tree" / "var/lib/trajc").is_dir():
        argv += ["--ro-bind", str(folder / "tree" / "var/lib/trajc"), "/var/lib/trajc"]
    if spec.workdir != "/home/agent":
        argv += ["--bind", str(folder / "tree" / spec.workdir.strip("/")), spec.workdir]
    return [*argv, "--remount-ro", "/dev", "--remount-ro", "/"]


def _reap() -> None:
    """Remove the folders of processes that were killed; their programs went with them."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*-*"):
        if not may_live(folder.name.removeprefix(PREFIX).rpartition("-")[0]):
            _erase(folder)


def _furnish(folder: Path, spec: SandboxSpec, outer: int | None) -> None:
    folder.chmod(0o711)
    (folder / "passwd").write_text(PASSWD)
    (folder / "group").write_text(GROUP)
    for name in ("tmp", "home", "tree"):
        (folder / name).mkdir()
    top = folder / "tree" / spec.workdir.strip("/")
    top.mkdir(parents=True, exist_ok=True)
    if spec.seed:
        with tarfile.open(fileobj=io.BytesIO(spec.seed)) as tar:
            tar.extractall(folder / "tree", filter=_member)
    if outer is not None:
        for path in (folder / "tmp", folder / "home"):
            os.chown(path, outer, outer)
        for path in (top, *top.rglob("*")):
            if not spec.keeps_owners or path.lstat().st_uid == AGENT_ID:
                os.lchown(path, outer, outer)


def _member(member: tarfile.TarInfo, _path: str) -> tarfile.TarInfo:
    """The archive is our own; links in it may point anywhere, as they will be looked at from inside only."""
    return member


def _size(folder: Path) -> int:
    """By `du`, which no depth of folders ends and no link put in a folder's place leads out. Files without a byte
    use up a disk as well."""
    kept = [_du(folder, how) for how in ("--block-size=1", "--inodes")]
    return kept[0] + kept[1] * INODE_BYTES


def _du(folder: Path, how: str) -> int:
    done = subprocess.run(["du", "-s", how, str(folder)], capture_output=True, check=False)
    number = done.stdout.split(b"\t")[0]
    return int(number) if number.isdigit() else 0


def _erase(folder: Path) -> None:
    """Also folders that the agent closed to everybody, and folders as deep as no path is long."""
    for command in (["chmod", "-R", "u+rwX"], ["rm", "-rf"]):
        subprocess.run([*command, "--", str(folder)], capture_output=True, check=False)
