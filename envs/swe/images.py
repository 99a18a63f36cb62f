"""Which image a task runs in, exactly: its id, found when the task is queued and held to when it runs.

A name such as `team/project:latest` may come to mean another image; its id never does. For bubblewrap the list of
what is installed in the root file system stands for it.
"""

import asyncio
import hashlib
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import docker
from docker.errors import DockerException, ImageNotFound

from envs.errors import SandboxError, TaskError
from envs.swe.settings import SweSettings
from envs.swe.world import SweWorld

REMEMBERED_SECONDS = 5.0
"""A task set has thousands of tasks and few images."""
ENGINE_SECONDS = 60
INSTALLED = "var/lib/dpkg/status"


class Images:
    """What the configured kind of sandbox has. Blocking, and safe to call from several threads."""

    def __init__(self, settings: SweSettings) -> None:
        self._settings = settings
        self._found: dict[str, tuple[str | None, float]] = {}
        self._lock = threading.Lock()

    def pinned(self, world: SweWorld) -> SweWorld:
        """The world with `image_digest`. As it was where nobody can tell here: no engine answers, or the image is
        not there yet. Raises `TaskError` where it names another image than there is."""
        self._check_kind(world)
        name = (world.image or self._settings.image) if self._settings.sandbox == "docker" else "the root file system"
        found = self._id(name)
        if world.image_digest is None:
            return world if found is None else world.model_copy(update={"image_digest": found})
        kept = self._settings.sandbox == "docker" and self._id(world.image_digest) is not None
        if found not in (None, world.image_digest) and not kept:
            raise _changed(name, world.image_digest, str(found))
        return world

    @asynccontextmanager
    async def told(self, world: SweWorld) -> AsyncIterator[None]:
        """Starting sandboxes of this world: that its image has changed is a `TaskError`, as no attempt mends it."""
        if self._settings.sandbox == "bubblewrap":
            await asyncio.to_thread(self.pinned, world)
        try:
            yield
        except SandboxError as e:
            if getattr(e.__cause__, "status", None) == 404:
                # Raises where the name means another image now; a worker that has none of it is only a poor worker.
                await asyncio.to_thread(self.pinned, world)
            raise

    def _check_kind(self, world: SweWorld) -> None:
        if self._settings.sandbox == "bubblewrap" and world.image is not None:
            raise TaskError(
                f"world.image: a bubblewrap sandbox has its root file system and no image {world.image}; use docker"
            )

    def _id(self, name: str) -> str | None:
        with self._lock:
            id, at = self._found.get(name, (None, float("-inf")))
            if time.monotonic() - at > REMEMBERED_SECONDS:
                id = self._rootfs_id() if self._settings.sandbox == "bubblewrap" else self._engine_id(name)
                self._found[name] = id, time.monotonic()
            return id

    def _rootfs_id(self) -> str | None:
        if self._settings.rootfs is None:
            return None
        try:
            return "rootfs:" + hashlib.sha256((self._settings.rootfs / INSTALLED).read_bytes()).hexdigest()
        except OSError:
            return None

    def _engine_id(self, name: str) -> str | None:
        try:
            client = docker.DockerClient(self._settings.docker_url, timeout=ENGINE_SECONDS)
            try:
                return str(client.images.get(name).id)
            finally:
                client.close()
        except ImageNotFound:
            return None
        except (DockerException, OSError):
            return None


def _changed(name: str, pinned: str, found: str) -> TaskError:
    return TaskError(
        f"world.image_digest: {name} is {found} now and was {pinned} when the task was queued; bring that image back, "
        "or queue the task again"
    )
