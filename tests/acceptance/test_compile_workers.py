"""Shards on Celery's prefork workers over a real Redis: one killed in the middle, Redis emptied, the same bytes."""

import os
import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from api.compile_steps import candidates
from compiler.compilation import compile_dataset
from compiler.recipe import Recipe
from compiler.recipe_split import Split
from compiler.work import SHARD, compilation_folder
from envs.blobs import blob_of
from rollout.blobs import FolderBlobs
from rollout.schema import jobs
from rollout.store import Store
from tests.acceptance.fleet import Fleet, Process, below, fleet, until
from tests.compiler.conftest import World

pytestmark = [pytest.mark.needs("redis"), pytest.mark.timeout(600)]
SHARDS = 3
RECIPE = Recipe(formats=("messages",), split=Split())


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Fleet]:
    with fleet(tmp_path, lease_seconds="12", poll_seconds="60", shutdown_seconds="2") as it:
        for process in (it.redis(), it.serve()):
            process.up()
        yield it


def fill(store: Store, blobs: FolderBlobs) -> tuple[list[str], list[Path]]:
    """Trajectories for `SHARDS` shards, and the file of a page that is read in the middle of each."""
    rng, world = random.Random(0), World()
    world.blobs = blobs  # type: ignore[assignment]
    middles = []
    for n in range(SHARDS * SHARD - 10):
        pages = [(f"p{n}.{d}", " ".join(f"{rng.getrandbits(40):x}" for _ in range(800))) for d in range(4)]
        found = world.search(f"s{n:04d}", f"Question {n}?", opened=pages, listed=(), gold=())
        store.save_trajectory(found.trajectory, found.reference, found.score)
        if n % SHARD == SHARD // 2:
            hash = blob_of(pages[-1][1].encode()).hash
            middles.append(blobs.root / hash[:2] / f"{hash[2:]}.zst")
    return [row.id for row in store.trajectories(limit=1000).items], middles


@contextmanager
def held_up(files: list[Path]) -> Iterator[None]:
    """Who reads one of these files waits until the block ends."""
    whole = {path: path.read_bytes() for path in files}
    for path in files:
        path.unlink()
        os.mkfifo(path)
    try:
        yield
    finally:
        for path, data in whole.items():
            pipe = os.open(path, os.O_RDWR)
            (path.parent / "new").write_bytes(data)
            (path.parent / "new").rename(path)
            os.write(pipe, data)  # to who has begun to read
            os.close(pipe)


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def at_work(store: Store) -> list[tuple[str, int]]:
    """Shards' jobs that somebody holds: job, process."""
    return [(row.id, int(row.owner.rpartition(":")[2])) for row in shards(store) if row.owner is not None]


def shards(store: Store) -> list[Any]:
    with store.read() as c:
        found = c.execute(sa.select(jobs.c.id, jobs.c.owner, jobs.c.payload).where(jobs.c.kind == "compile_shard"))
        return [row for row in found if "shard" in row.payload]


def kill(worker: Process) -> None:
    """It and its children, at once and without a word."""
    children = below(worker.process.pid)
    worker.process.kill()
    for pid, _ in children:
        with suppress(ProcessLookupError):  # it may end by itself, without its parent
            os.kill(pid, signal.SIGKILL)
    worker.process.wait()


def test_a_worker_killed_in_the_middle_of_a_shard_changes_no_byte(site: Fleet, tmp_path: Path) -> None:
    blobs, datasets = FolderBlobs(site.home / "blobs"), site.home / "datasets"
    with site.store() as store:
        ids, middles = fill(store, blobs)
        made: Any = site.post("/v1/compilations", {"dataset": "demo", "recipe": RECIPE.model_dump(mode="json")})
        folder = compilation_folder(datasets / "demo", made["id"])
        with held_up(middles):
            workers = [site.worker("compile", 1, f"compile-{n}") for n in range(2)]
            for worker in workers:
                worker.up()

            def half_written() -> list[Path]:
                return [path for path in folder.glob(".shard-*/examples.jsonl") if path.stat().st_size]

            def held() -> list[str]:
                """The victim's job, while both are at work."""
                mine, found = {pid for pid, _ in below(victim.process.pid)}, at_work(store)
                return [job for job, process in found if process in mine] if len(found) == 2 else []

            victim = workers[0]
            until(lambda: held() and len(half_written()) == 2, "two shards are at work")
            (job,) = held()
            kill(victim)
            with site.client as client:
                client.flushall()
        until(lambda: store.compilation(made["id"]).finished, "compiled")
        done = store.compilation(made["id"])
        assert (done.state, done.error) == ("succeeded", "")
        assert store.job(job).attempt == 2
        alone = compile_dataset(RECIPE, candidates(store, ids), blobs, tmp_path / "alone", "demo")
        assert alone.accounts.published == len(ids)
        assert store.version("demo", str(done.version)).manifest == alone.manifest
        assert done.version == alone.version
        assert contents(datasets / "demo" / alone.version) == contents(alone.path)
        assert [path.name for path in (datasets / "demo").iterdir()] == [alone.version]
        assert len(shards(store)) == SHARDS
