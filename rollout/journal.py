"""Journals on disk: each finished turn of a rollout, kept until the rollout has ended.

One file for each attempt, `ROLLOUT/ATTEMPT.jsonl`, one turn a line. A turn is written before the next model call
is made, so the death of every process costs at most the turn in flight; with `fsync`, loss of power too. For
workers on several machines the folder must be one that all of them see.
"""

import asyncio
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import orjson

from rollout.record import Turn


class FolderJournals:
    """The journals of many rollouts; one for each process and event loop."""

    def __init__(self, root: Path, *, fsync: bool = False) -> None:
        self.root = root
        self._sync = GroupedSync() if fsync else None

    def open(self, rollout: str, attempt: int) -> "FolderJournal":
        """The journal that this attempt writes. Closed by its `close`."""
        path = self._path(rollout, attempt)
        path.parent.mkdir(parents=True, exist_ok=True)
        return FolderJournal(path, self._sync)

    def earlier(self, rollout: str, attempt: int) -> tuple[Turn, ...]:
        """What earlier attempts recorded: the longest of their journals."""
        found: tuple[Turn, ...] = ()
        for number, path in sorted(self._attempts(rollout)):
            if number < attempt:
                found = max(read_turns(path), found, key=len)
        return found

    def forget(self, rollout: str, before: int | None = None) -> None:
        """Remove the rollout's journals: all, or those of attempts before this one."""
        if before is None:
            shutil.rmtree(self.root / rollout, ignore_errors=True)
            return
        for number, path in list(self._attempts(rollout)):
            if number < before:
                path.unlink(missing_ok=True)

    def rollouts(self) -> Iterator[str]:
        """Every rollout that has a journal."""
        if self.root.is_dir():
            yield from (path.name for path in self.root.iterdir())

    def _path(self, rollout: str, attempt: int) -> Path:
        return self.root / rollout / f"{attempt}.jsonl"

    def _attempts(self, rollout: str) -> Iterator[tuple[int, Path]]:
        for path in (self.root / rollout).glob("*.jsonl"):
            yield int(path.stem), path


class FolderJournal:
    """A `Journal` in one file, from its start: an attempt that starts anew starts its journal anew."""

    def __init__(self, path: Path, sync: "GroupedSync | None" = None) -> None:
        self._file: BinaryIO = path.open("wb", buffering=0)
        self._sync = sync

    async def turn(self, turn: Turn) -> None:
        line = turn.model_dump_json(exclude_defaults=True).encode() + b"\n"
        written = self._file.write(line)  # a few microseconds: it ends in the page cache
        while written < len(line):
            written += self._file.write(line[written:])
        if self._sync is not None:
            await self._sync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


class GroupedSync:
    """fsync in a thread; what is asked for while one round is under way goes together into the next."""

    def __init__(self) -> None:
        self._waiting: dict[int, list[asyncio.Future[None]]] = {}
        self._round: asyncio.Task[None] | None = None

    async def __call__(self, handle: int) -> None:
        done = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(handle, []).append(done)
        if self._round is None:
            self._round = asyncio.create_task(self._rounds(), name="journal fsync")
        await asyncio.shield(done)

    async def _rounds(self) -> None:
        while self._waiting:
            waiting, self._waiting = self._waiting, {}
            failures = await asyncio.to_thread(_sync_all, tuple(waiting))
            for handle, futures in waiting.items():
                for future in futures:
                    if (error := failures.get(handle)) is None:
                        future.set_result(None)
                    else:
                        future.set_exception(error)
        self._round = None


def read_turns(path: Path) -> tuple[Turn, ...]:
    """The whole turns of a file, up to the first that is cut off or out of order."""
    turns: list[Turn] = []
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return ()
    for line in data.splitlines(keepends=True):
        try:
            if not line.endswith(b"\n"):
                break
            turn = Turn.model_validate(orjson.loads(line))
        except ValueError:  # the end of a file that a lost machine was writing
            break
        if turn.index != len(turns):
            break
        turns.append(turn)
    return tuple(turns)


def _sync_all(handles: tuple[int, ...]) -> dict[int, OSError]:
    failures: dict[int, OSError] = {}
    for handle in handles:
        try:
            os.fsync(handle)
        except OSError as e:
            failures[handle] = e
    return failures
