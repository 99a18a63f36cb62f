"""Containers that wait, started and with a shell, so that a rollout gets one without waiting for the engine.

Such a container belongs to the process (`owner.py`) for as long as it waits and afterwards.
"""

import asyncio
import contextlib
from collections import deque
from dataclasses import replace

from envs.errors import SandboxError
from envs.swe.engine.container import DockerSandbox
from envs.swe.engine.engine import DockerSandboxes
from envs.swe.engine.owner import PROCESS, this_process
from envs.swe.sandbox import Limit, SandboxSpec


class WarmPool:
    """`Sandboxes` that keeps `size` containers of one shape ready; other shapes are started as ever."""

    def __init__(self, inner: DockerSandboxes, size: int) -> None:
        self.inner = inner
        self.enforces: frozenset[Limit] = inner.enforces
        self._size = size
        self._shape: SandboxSpec | None = None
        self._ready: deque[DockerSandbox] = deque()
        self._filling: asyncio.Task[None] | None = None
        self._latest: bytes | None = None
        self._expected: bytes | None = None
        """The repository that was asked for twice in a row, as samples of one task do: waiting ones get it ahead."""
        self._closed = False

    async def start(self, spec: SandboxSpec) -> DockerSandbox:
        """The first spec seen gives the pool its shape. A waiting container that fails is thrown away. None waits for
        what must be cleared first: where, only the spec says."""
        shape = _shape(spec)
        alone = spec.keeps_owners or spec.clear
        if self._shape is None and not alone:
            self._shape = shape
        if shape != self._shape or alone:
            return await self.inner.start(spec)
        self._expected = spec.seed if self._latest == spec.seed else None
        self._latest = spec.seed
        while (sandbox := await self._take(spec.seed)) is not None:
            try:
                await sandbox.hand_over(spec)
            except BaseException as e:
                await sandbox.close()
                if not isinstance(e, SandboxError):
                    raise
            else:
                # Only now: starting the next one would slow this one down.
                self.fill()
                return sandbox
        self.fill()
        return await self.inner.start(spec)

    async def _take(self, seed: bytes) -> DockerSandbox | None:
        """A container that holds this repository already, else one that holds none. One that holds another makes
        room, as what it waited for did not come."""
        for wanted in (seed, None):
            for sandbox in self._ready:
                if sandbox.loaded == wanted:
                    self._ready.remove(sandbox)
                    return sandbox
        if self._ready:
            await self._ready.popleft().close()
        return None

    def fill(self) -> None:
        """Bring the pool to its size in the background. An engine that refuses is asked again at the next start."""
        if not self._closed and (self._filling is None or self._filling.done()):
            self._filling = asyncio.create_task(self._fill())

    async def ready(self) -> int:
        """Wait until the pool is as full as it gets; how many wait."""
        if self._filling is not None:
            await asyncio.wait([self._filling])
        return len(self._ready)

    async def _fill(self) -> None:
        assert self._shape is not None
        waiting = replace(self._shape, labels={**self._shape.labels, PROCESS: this_process()})
        with contextlib.suppress(SandboxError):
            while len(self._ready) < self._size:
                sandbox = await self.inner.start(waiting)
                try:
                    await sandbox.prepare()
                    if self._expected is not None:
                        await sandbox.load(self._expected)
                except BaseException:
                    await sandbox.close()
                    raise
                self._ready.append(sandbox)

    async def close(self) -> None:
        self._closed = True
        if self._filling is not None:
            self._filling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._filling
        while self._ready:
            await self._ready.popleft().close()
        await self.inner.close()


def _shape(spec: SandboxSpec) -> SandboxSpec:
    """What containers must have in common to stand in for each other."""
    kept = {name: spec.labels[name] for name in ("service", "host") if name in spec.labels}
    return replace(spec, seed=b"", labels=kept, workdir="/")
