"""The Docker engine: connecting, starting containers within bounds, and removing what nobody owns."""

import asyncio
import time
from collections.abc import Collection

import aiodocker
import aiohttp
from aiodocker.containers import DockerContainer

from envs.errors import SandboxError
from envs.swe.engine.adopt import owner_now, owner_of
from envs.swe.engine.container import ENFORCES, DockerSandbox, remove
from envs.swe.engine.options import EXPIRES, SERVICE, container_config
from envs.swe.engine.owner import PROCESS, may_live
from envs.swe.engine.words import engine_words, unreachable
from envs.swe.sandbox import Limit, SandboxSpec

DEFAULT_URL = "unix:///var/run/docker.sock"
START_SECONDS = 60.0
ATTEMPTS = 4
CREATED_SECONDS = 10.0
"""How long the answer is waited for that names a container which nobody wants any more."""
PATIENCE_SECONDS = 180.0
"""How long an engine that went away is waited for."""
FIRST_SECONDS = 10.0
"""How long a worker waits for one that it has not met yet: it may have started before the engine did, and whoever fails
at once takes the next rollout at once, until all have failed."""
LOOK_SECONDS = 1.0
REFUSED = (400, 404)
"""Answers that another try will not change: a bad request, no such image."""


class DockerSandboxes:
    """Starts one container for each sandbox. Long-lived; belongs to one event loop."""

    enforces: frozenset[Limit] = ENFORCES

    def __init__(
        self, url: str = DEFAULT_URL, starts_at_once: int = 8, patience: float = PATIENCE_SECONDS, first: float = 0.0
    ) -> None:
        """Seconds: `patience` for an engine that went away, `first` for one that has never answered."""
        self._url = url
        self._patience = patience
        self._first = first
        self._answered = False
        """Whether this engine ever started a sandbox here."""
        self._client: aiodocker.Docker | None = None
        self._starting = asyncio.Semaphore(starts_at_once)

    @property
    def client(self) -> aiodocker.Docker:
        """Raises `SandboxError` where the URL cannot be used."""
        if self._client is None:
            self._client = connect(self._url)
        return self._client

    async def start(self, spec: SandboxSpec) -> DockerSandbox:
        """Tries again, with a growing pause, what the engine may do better the next time. An engine that went away
        is waited for: whoever has started sandboxes by it would lose them all, one after the other, to a restart."""
        spec.refuse_unless(self.enforces)
        began = time.monotonic()
        attempt = 0
        while True:
            try:
                async with self._starting, asyncio.timeout(START_SECONDS):
                    sandbox = await self._start(spec)
                    self._answered = True
                    return sandbox
            except TimeoutError:
                raise SandboxError(
                    f"the Docker engine started no container of {spec.image} in {START_SECONDS:.0f} s"
                ) from None
            except SandboxError as e:
                cause = e.__cause__
                if unreachable(cause):
                    if time.monotonic() - began >= (self._patience if self._answered else self._first):
                        raise
                    await asyncio.sleep(LOOK_SECONDS)
                    continue
                refused = isinstance(cause, aiodocker.DockerError) and cause.status in REFUSED
                if refused or attempt == ATTEMPTS - 1:
                    raise
            await asyncio.sleep(0.2 * 4**attempt)
            attempt += 1

    async def _start(self, spec: SandboxSpec) -> DockerSandbox:
        container = None
        what = f"starting a container of {spec.image}"
        try:
            with engine_words(what):
                config = container_config(spec, time.time() + spec.seconds)
                # Whoever stops waiting for an answer has a container all the same, and must know which to remove.
                creating = asyncio.ensure_future(self.client.containers.create(config))
                try:
                    container = await asyncio.shield(creating)
                except asyncio.CancelledError:
                    await asyncio.wait({creating}, timeout=CREATED_SECONDS)
                    if not creating.done():  # the engine hangs
                        creating.cancel()
                    elif creating.exception() is None:
                        container = creating.result()
                    raise
                if spec.seed and not spec.clear:
                    await container.put_archive("/", spec.seed)  # type: ignore[no-untyped-call]
                await container.start()
            sandbox = DockerSandbox(container, spec)
            if spec.clear:
                await sandbox.clear()
        except BaseException:
            if container is not None:
                await asyncio.shield(remove(container))
            raise
        return sandbox

    async def close(self) -> None:
        if self._client is not None:
            client, self._client = self._client, None
            await disconnect(client)


def connect(url: str = DEFAULT_URL) -> aiodocker.Docker:
    """A client whose connections are not capped: each open shell holds one."""
    try:
        if url.startswith("unix://"):
            connector = aiohttp.UnixConnector(path=url.removeprefix("unix://"), limit=0)
            session = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout())
            return aiodocker.Docker("unix://localhost", connector=connector, session=session)
        return aiodocker.Docker(url)
    except ValueError as e:
        raise SandboxError(f"the Docker engine's address {url!r} cannot be used: {e}") from e


async def disconnect(client: aiodocker.Docker) -> None:
    """Close what `connect` opened."""
    await client.close()
    await client.session.close()


async def reap(client: aiodocker.Docker, live: Collection[str], service: str = "trajc", host: str | None = None) -> int:
    """Remove this service's containers that nobody owns any more: expired ones, and those whose owner (`owner_of`) is
    not in `live` and whose process (`owner.py`), if one is named, is gone. Where `host` is given, only those that were
    started from it.

    Returns how many were removed. Raises `SandboxError`.
    """
    wanted = [f"{SERVICE}={service}"] + ([f"trajc.host={host}"] if host else [])
    with engine_words("listing containers"):
        found = await client.containers.list(all=True, filters={"label": wanted})
    now = time.time()
    removed = 0
    for container in found:
        labels = container["Labels"]
        expired = float(labels.get(EXPIRES, "inf")) < now
        if not expired:
            owned = await _lives(owner_of(labels, container["Names"][0]), live)
            if owned or may_live(labels.get(f"trajc.{PROCESS}")) or await _adopted_meanwhile(container, live):
                continue
        await remove(container)
        removed += 1
    return removed


async def _adopted_meanwhile(container: DockerContainer, live: Collection[str]) -> bool:
    try:
        return await _lives(await owner_now(container), live)
    except SandboxError:
        return False  # it is gone


async def _lives(owner: str, live: Collection[str]) -> bool:
    """Asked in a thread: `live` may be a database, for which no rollout of this process is to wait."""
    return await asyncio.to_thread(live.__contains__, owner)
