"""What an operator can set for the SWE environment (`Site.settings`)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from envs.frozen import Frozen
from envs.settings import read_settings
from envs.swe.engine.baseimage import BASE_IMAGE
from envs.swe.engine.engine import DEFAULT_URL
from envs.swe.sandbox import Bounds, Limit


class SweSettings(Frozen):
    sandbox: Literal["docker", "bubblewrap"] = "docker"
    docker_url: str = DEFAULT_URL
    """The Docker engine's address."""
    image: str = BASE_IMAGE
    """For tasks that name no image of their own."""
    rootfs: Path | None = None
    """Folder of an unpacked Debian, which bubblewrap's sandboxes show to the agent."""
    shown_bytes: int = Field(default=16_000, ge=1)
    """Of one command's output."""
    memory_bytes: int = Field(default=Bounds.memory_bytes, ge=16 << 20)
    cpus: float = Field(default=Bounds.cpus, gt=0)
    processes: int = Field(default=Bounds.processes, ge=16)
    disk_bytes: int = Field(default=Bounds.disk_bytes, ge=1 << 20)
    """Of all files that one agent writes."""
    warm: int = Field(default=0, ge=0)
    """Containers kept waiting."""
    network: bool = False
    """Lets agents out."""
    required_limits: frozenset[Limit] = frozenset(("network", "filesystem", "time"))
    """A task is refused by a sandbox that does not enforce one of these."""


def parse_settings(given: Mapping[str, Any]) -> SweSettings:
    """Raises `TaskError` naming the wrong setting."""
    return read_settings(SweSettings, given, "swe")
