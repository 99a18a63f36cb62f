"""The hidden folders that compilations work in, beside the versions of their dataset, and how they go away again.

    .work-<chance>            of one process, which holds a lock on .work-<chance>.lock for as long as it lives
    .compilation-<id>         of a queued compilation, which many processes work on, one after the other

The first are removed by the next compilation of the same dataset once nobody holds the lock; of the second the caller
knows whether they are still wanted.
"""

import fcntl
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

SHARD = 64
"""Trajectories that one process is handed at a time."""

_COMPILATION = ".compilation-"


@contextmanager
def own_folder(home: Path) -> Iterator[Path]:
    """A new one below the dataset's folder; what killed processes left there is removed first."""
    home.mkdir(parents=True, exist_ok=True)
    remove_abandoned(home)
    folder = home / f".work-{uuid.uuid4().hex}"
    with _locked(_lock_of(folder)):
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            _lock_of(folder).unlink(missing_ok=True)


def remove_abandoned(home: Path) -> None:
    """The folders whose process is gone. A lock is made before its folder, so a folder without one has no owner."""
    folders = {path.with_suffix("") for path in home.glob(".work-*")}
    for folder in sorted(folders):
        lock = os.open(_lock_of(folder), os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
            _lock_of(folder).unlink(missing_ok=True)
        except OSError:  # held; or a file system without locks, where nobody can tell
            continue
        finally:
            os.close(lock)


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists() and os.fstat(lock).st_ino == path.stat().st_ino:
            break
        os.close(lock)  # somebody removed it before it was locked
    try:
        yield
    finally:
        os.close(lock)


def compilation_folder(home: Path, id: str) -> Path:
    return home / f"{_COMPILATION}{id}"


def remove_ended(datasets: Path, wanted: Callable[[str], bool]) -> None:
    """The folders of compilations that are no longer wanted, by id."""
    for folder in datasets.glob(f"*/{_COMPILATION}*"):
        if not wanted(folder.name.removeprefix(_COMPILATION)):
            shutil.rmtree(folder, ignore_errors=True)


class Plan:
    """Which trajectories each shard of a compilation holds: written once and whole, then read by whoever works."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._at = folder / "plan"

    @property
    def made(self) -> bool:
        return self._at.exists()

    def make(self, ids: Iterable[str], size: int = SHARD) -> None:
        """The first one stays: two that plan at once agree on it. The bytes do not depend on the shards' size."""
        temporary = self.folder / f".plan-{uuid.uuid4().hex}"
        temporary.mkdir(parents=True)
        rest, shards = iter(ids), 0
        while (some := list(islice(rest, size))) or not shards:
            (temporary / f"{shards:05d}").write_text("".join(f"{id}\n" for id in some))
            shards += 1
        (temporary / "shards").write_text(str(shards))
        try:
            os.rename(temporary, self._at)
        except OSError:
            shutil.rmtree(temporary)
            if not self.made:
                raise

    @property
    def shards(self) -> int:
        return int((self._at / "shards").read_text())

    def ids(self, shard: int) -> list[str]:
        return (self._at / f"{shard:05d}").read_text().split()

    def shard(self, number: int) -> Path:
        return self.folder / f"shard-{number:05d}"

    @property
    def whole(self) -> bool:
        """Whether every shard stands. The last are looked at first: they are begun last."""
        return all(self.shard(n).joinpath("done.json").exists() for n in reversed(range(self.shards)))

    @property
    def done(self) -> list[Path]:
        """The shards that stand whole, in order."""
        return [path for n in range(self.shards) if (path := self.shard(n)).joinpath("done.json").exists()]
