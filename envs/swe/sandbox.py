"""The seam to whatever keeps an agent's commands apart from the host: a container, or a namespace of processes.

Owns the protocol, the bounds and what a command gives back; `engine/` (Docker) and `bubblewrap.py` fill it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from envs.errors import SandboxError

Limit = Literal["network", "filesystem", "processes", "memory", "cpu", "time", "syscalls", "disk"]
"""What a sandbox may be able to enforce. A task that needs one that is missing is refused, not run without it."""


@dataclass(frozen=True)
class Bounds:
    """What one sandbox may use."""

    memory_bytes: int = 2 << 30
    cpus: float = 1.0
    processes: int = 256
    open_files: int = 4096
    file_bytes: int = 2 << 30
    """The largest file that may be written."""
    disk_bytes: int = 8 << 30
    """Of all files written. Looked at every few seconds: a command that is over it is ended, files stay."""
    shared_memory_bytes: int = 64 << 20
    keep_bytes: int = 4 << 20
    """Of one command's output, first and last half: what is kept in memory."""
    flood_bytes: int = 64 << 20
    """A command that writes more is ended."""


@dataclass(frozen=True)
class SandboxSpec:
    """One sandbox to start."""

    image: str
    workdir: str = "/testbed"
    user: str = "agent"
    seed: bytes = b""
    """A tar archive that is unpacked at / before the agent's first command."""
    keeps_owners: bool = False
    """Whether the seed's files must belong to whom it says, and not all to the agent."""
    clear: bool = False
    """Whether what the image itself holds in `workdir` goes first: every file under version control and the history,
    or everything where there is none. What was built there and is not under version control stays."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Who owns it (service, run, rollout, attempt): what a reaper reads after a crash."""
    network: bool = False
    seconds: float = 4 * 3600
    """It ends by itself after this long, even if everybody forgot it."""
    bounds: Bounds = Bounds()
    requires: frozenset[Limit] = frozenset(("network", "filesystem", "time"))
    """Limits without which it must not be started."""

    def refuse_unless(self, enforces: frozenset[Limit]) -> None:
        """Raises `SandboxError` naming what is required and not enforced."""
        missing = sorted(self.requires - enforces)
        if missing:
            raise SandboxError(
                f"this sandbox does not bound {', '.join(missing)}, which the settings require (`required_limits`); "
                "use docker, or require less"
            )


@dataclass(frozen=True)
class Output:
    """What one command wrote (stdout and stderr as one stream) and how it ended."""

    data: bytes
    left_out: int
    """Bytes between the kept head and the kept tail, in no memory any more; they are missing at `cut_at`."""
    cut_at: int
    code: int | None
    """Exit status; None where the command was ended by us."""
    ended: Literal["exited", "timeout", "flood", "disk"]
    seconds: float
    fresh_shell: bool = False
    """Whether the shell ended with the command or before it: variables and functions that were not exported are
    gone."""
    begun: bool = True
    """Whether it ran at all; False where the shell had ended before, by what earlier commands left behind."""

    @property
    def ok(self) -> bool:
        return self.ended == "exited" and self.code == 0


class Sandbox(Protocol):
    """One agent's machine. Calls are made one at a time. Every method raises `SandboxError` where the sandbox
    itself is broken or gone; what a command does wrong is in its `Output`."""

    enforces: frozenset[Limit]

    async def run(self, command: str, seconds: float) -> Output:
        """A command in the agent's shell, whose directory, variables and background jobs last from call to call.

        After `seconds` every process of the agent is killed.
        """
        ...

    async def execute(self, argv: list[str], seconds: float, stdin: bytes = b"", workdir: str = "/") -> Output:
        """A program by itself, outside of the agent's shell, as the agent's user."""
        ...

    async def read(self, path: str, limit: int) -> bytes | None:
        """A regular file's first `limit` bytes, read as the agent may; None where there is none."""
        ...

    async def write(self, path: str, data: bytes) -> str:
        """Write a file as the agent may, parents made. Returns "" or the reason why it could not."""
        ...

    @property
    def directory(self) -> str:
        """The agent's shell's present directory."""
        ...

    async def close(self) -> None:
        """Remove it and everything in it. Never raises; may be called twice."""
        ...


class Sandboxes(Protocol):
    """Where sandboxes come from."""

    enforces: frozenset[Limit]

    async def start(self, spec: SandboxSpec) -> Sandbox:
        """Raises `SandboxError` in one sentence that says what to do."""
        ...

    async def close(self) -> None: ...
