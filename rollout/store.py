"""The store: everything that trajc keeps in its database, as one object made of its parts.

    TaskSets (store_tasks)            tasks, references, named task sets
    Runs (store_runs)                 runs, their accounts, pause, cancel, retry
    Rollouts (store_rollouts)         rollouts and their attempts, jobs of other kinds
    Queue (queue)                     claims, leases, results
    Trajectories (store_trajectories) trajectories, scores, candidates for the compiler
    Measures (store_progress)         how a run comes along
    Versions (store_versions)         compilations, datasets and their versions
    Endpoints (store_endpoints)       model endpoints, and what their calls came to
    Events (store_events)             what changed, in order

Synchronous and thread-safe; async callers use `asyncio.to_thread`.
"""

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from envs.blobs import BlobStore
from rollout.database import MakeId, engine_for
from rollout.migrations import upgrade
from rollout.queue import Queue
from rollout.store_events import Events
from rollout.store_progress import Measures
from rollout.store_rollouts import Rollouts
from rollout.store_versions import Versions


class Store(Queue, Rollouts, Measures, Versions, Events):
    """Made by `Store.open`. A context manager that closes its connections."""

    @classmethod
    def open(
        cls,
        url: str | Path,
        blobs: BlobStore,
        *,
        fsync: bool = False,
        clock: Callable[[], float] | None = None,
        new_id: MakeId | None = None,
    ) -> Self:
        """Connect, and bring the tables up to date. `url` is a SQLAlchemy URL or the path of a SQLite file."""
        engine = engine_for(url, fsync=fsync)
        upgrade(engine)
        return cls(engine, blobs, clock, new_id)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
