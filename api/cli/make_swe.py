"""What `trajc tasks make-swe` and `base-image` do: the swe maker over this home folder and its Docker engine."""

from collections.abc import Callable
from pathlib import Path

import orjson

from api.service import site_of
from api.settings import Settings
from envs.swe.engine.baseimage import ensure_base_image
from envs.swe.engine.engine import DEFAULT_URL, connect, disconnect
from envs.swe.environment import SweEnvironment
from envs.swe.make.package import Made, make_tasks
from rollout.blobs import FolderBlobs


async def make(
    package: str, settings: Settings, count: int, bugs: int, seed: int, parallel: int, say: Callable[[str], None]
) -> Made:
    """Raises `TaskError` or `SandboxError`."""
    settings.home.mkdir(parents=True, exist_ok=True)
    blobs = FolderBlobs(settings.blobs)
    environment = SweEnvironment(site_of(settings, blobs, "swe"))
    try:
        return await make_tasks(
            package, environment.sandboxes, blobs, count=count, seed=seed, bugs=bugs, parallel=parallel, say=say
        )
    finally:
        await environment.close()


def write_tasks(made: Made, path: Path) -> None:
    """A task file, there only when whole."""
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as lines:
        for task, reference in made.tasks:
            lines.write(orjson.dumps({**task.model_dump(mode="json"), "reference": reference.data}) + b"\n")
    partial.replace(path)


async def make_base_image(settings: Settings, rootfs: Path | None, say: Callable[[str], None]) -> str:
    """The image's id. Raises `SandboxError`."""
    client = connect(str(settings.environments.get("swe", {}).get("docker_url") or DEFAULT_URL))
    try:
        return await ensure_base_image(client, rootfs, say=say)
    finally:
        await disconnect(client)
