"""Rows of SWE-bench and SWE-smith into tasks: each checked, its files found, and where asked its tests run.

A row that is no task is left out with every reason; nothing is passed over in silence: rows = loaded + left out.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import aiodocker

from envs.blobs import BlobStore
from envs.errors import SandboxError, TaskError
from envs.swe.engine.engine import DEFAULT_URL, connect, disconnect
from envs.swe.gitdir import File
from envs.swe.make.trial import in_order
from envs.swe.row_files import Row
from envs.swe.row_runs import command_of, image_of, targets_of
from envs.swe.rows import files_of_commit, files_of_image, row_faults, task_of_row
from envs.swe.sandbox import Sandboxes
from envs.swe.verify import verify
from envs.task import Reference, Task


@dataclass(frozen=True)
class Loading:
    """Where files come from, and what is looked at."""

    docker_url: str = DEFAULT_URL
    clones: Path | None = None
    """Folder of local clones, `OWNER__NAME` or `OWNER/NAME` or `NAME` (with or without `.git`). A row whose clone is
    there takes its files from `base_commit`, any other from its image."""
    image: str | None = None
    """A template, as `image_of` takes it."""
    workdir: str = "/testbed"
    split: str = "train"
    verified: bool = False
    """Whether the tests are run before and after the gold patch, twice each."""
    parallel: int = 2
    service: str = "trajc"


@dataclass(frozen=True)
class Loaded:
    """What became of one row: a task, or faults."""

    row: Row
    image: str | None
    """None is trajc's base image."""
    present: bool
    """Whether the engine has the image."""
    task: tuple[Task, Reference] | None
    faults: tuple[str, ...]


async def load_rows(
    rows: Iterable[Row], loading: Loading, sandboxes: Sandboxes, blobs: BlobStore
) -> AsyncGenerator[Loaded, None]:
    """In the order of the rows, `loading.parallel` at once. Raises `SandboxError` where the engine itself fails."""
    client = connect(loading.docker_url)
    engine = _Engine(client)
    seen: dict[str, str] = {}
    try:
        work = (partial(_load, row, loading, engine, sandboxes, blobs, seen) for row in rows)
        async with aclosing(in_order(work, loading.parallel)) as found:
            async for one in found:
                yield one
    finally:
        await disconnect(client)


async def _load(
    row: Row, loading: Loading, engine: "_Engine", sandboxes: Sandboxes, blobs: BlobStore, seen: dict[str, str]
) -> Loaded:
    image = image_of(row.values, loading.image)
    where = f"{row.file}:{row.number}"
    faults = [row.fault] if row.fault else row_faults(row.values)
    if row.values.get("instance_id") and (first := seen.setdefault(row.name, where)) != where:
        faults.append(f"instance_id {row.name!r} is that of {first} too")
    present = await engine.has(image)
    if faults:
        return Loaded(row, image, present, None, tuple(faults))
    try:
        files = await _files(row, loading, engine, image, present)
        command = command_of(row.values)
        task, reference = await asyncio.to_thread(
            partial(
                task_of_row,
                row.values,
                files,
                blobs,
                image=image,
                workdir=loading.workdir,
                command=command,
                targets=targets_of(row.values, command),
                split=loading.split,
            )
        )
        if loading.verified:
            if not present:
                raise TaskError(f"the engine has no image {image}; pull it, or load without verifying")
            faults += await verify(task, reference, sandboxes, blobs, loading.service)
    except TaskError as e:
        faults.append(str(e).removeprefix(f"{row.name}: "))
    return Loaded(row, image, present, None if faults else (task, reference), tuple(faults))


async def _files(row: Row, loading: Loading, engine: "_Engine", image: str | None, present: bool) -> dict[str, File]:
    """Raises `TaskError` naming where they were looked for."""
    commit, clone = row.values.get("base_commit"), _clone(str(row.values["repo"]), loading.clones)
    if clone is not None and isinstance(commit, str) and commit:
        return await asyncio.to_thread(files_of_commit, clone, commit)
    if image is not None and present:
        return await engine.files(image, loading.workdir)
    no_commit = "base_commit is missing" if clone is not None else f"no clone of {row.values['repo']} was given"
    no_image = "the row names no image" if image is None else f"the engine has no {image}"
    raise TaskError(f"its files are nowhere: {no_commit}, and {no_image}")


def _clone(repository: str, folder: Path | None) -> Path | None:
    if folder is None or ".." in repository:
        return None
    names = (repository.replace("/", "__"), repository, repository.rpartition("/")[2])
    for name in (n + suffix for n in names for suffix in ("", ".git")):
        found = folder / name
        if (found / ".git").exists() or (found / "HEAD").is_file():
            return found
    return None


class _Engine:
    """What the Docker engine has, each image looked at once."""

    def __init__(self, client: aiodocker.Docker) -> None:
        self._client = client
        self._present: dict[str, bool] = {}
        self._last: tuple[tuple[str, str], dict[str, File]] | None = None

    async def has(self, image: str | None) -> bool:
        """trajc's own base image is made where it is missing, and counts as there."""
        if image is None:
            return True
        if image not in self._present:
            try:
                await self._client.images.inspect(image)
                self._present[image] = True
            except aiodocker.DockerError as e:
                if e.status != 404:
                    raise SandboxError(f"the Docker engine cannot say whether it has {image}: {e.message}") from e
                self._present[image] = False
        return self._present[image]

    async def files(self, image: str, workdir: str) -> dict[str, File]:
        """SWE-smith has hundreds of rows for one image, one after the other."""
        key = image, workdir
        if self._last is None or self._last[0] != key:
            self._last = key, await files_of_image(self._client, image, workdir)
        return self._last[1]
