"""Journals on disk: each finished turn of a rollout, kept until the rollout has ended.

One file for each attempt, `ROLLOUT.ATTEMPT.jsonl`, one turn a line. A turn is written before the next model call
is made, so the death of every process costs at most the turn in flight; with `fsync`, loss of power too. For
workers on several machines the folder must be one that all of them see.

Between the turns stand words about a session that may outlive its worker: how it stood after the turn (`standing`), or
that it is being called (`calling`). The last of them counts, and only at the end of the file. A rollout that started
anew says so at the start of its file.
"""

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from rollout.packed import Turn, line_of, turn_of
from rollout.trajectory import Mark


@dataclass(frozen=True)
class Earlier:
    """What an earlier attempt recorded."""

    turns: tuple[Turn, ...] = ()
    standing: Mapping[str, Any] | None = None
    """How its session stands (`envs.adoption`); None where nobody can know."""
    former: Mapping[str, Any] | None = None
    """The last that was noted of how it stood: enough to remove it."""
    marks: tuple[Mark, ...] = ()
    """What the trajectory is to say of the attempts before that one."""


class FolderJournals:
    """The journals of many rollouts; one for each process and event loop."""

    def __init__(self, root: Path, *, fsync: bool = False) -> None:
        self.root = root
        self._sync = GroupedSync() if fsync else None

    def open(self, rollout: str, attempt: int, marks: tuple[Mark, ...] = ()) -> "FolderJournal":
        """The journal that this attempt writes; `marks` are for every later attempt to say as well. Closed by its
        `close`."""
        path = self._path(rollout, attempt)
        try:
            return FolderJournal(path, self._sync, marks)
        except FileNotFoundError:
            self.root.mkdir(parents=True, exist_ok=True)
            return FolderJournal(path, self._sync, marks)

    def earlier(self, rollout: str, attempt: int) -> Earlier:
        """What earlier attempts recorded: the longest of their journals, and among equals the latest."""
        found = Earlier()
        for number in range(1, attempt):
            found = max(read_journal(self._path(rollout, number)), found, key=lambda one: len(one.turns))
        return found

    def forget(self, rollout: str, attempt: int) -> None:
        """Remove the rollout's journals up to this attempt's."""
        for number in range(1, attempt + 1):
            self._path(rollout, number).unlink(missing_ok=True)

    def rollouts(self) -> Mapping[str, int]:
        """Every rollout that has a journal, with its latest attempt that has one."""
        found: dict[str, int] = {}
        for path in self.root.glob("*.jsonl"):
            rollout, _, attempt = path.stem.rpartition(".")
            if rollout and attempt.isdecimal():  # others are not ours
                found[rollout] = max(int(attempt), found.get(rollout, 0))
        return found

    def _path(self, rollout: str, attempt: int) -> Path:
        """All in one folder: a file system may take ten times as long for a file in a new one."""
        return self.root / f"{rollout}.{attempt}.jsonl"


class FolderJournal:
    """A `Journal` in one file, from its start: an attempt that starts anew starts its journal anew."""

    def __init__(self, path: Path, sync: "GroupedSync | None" = None, marks: tuple[Mark, ...] = ()) -> None:
        self._file: BinaryIO = path.open("wb", buffering=0)
        self._sync = sync
        for mark in marks:
            self._write(orjson.dumps({"mark": mark.model_dump()}))

    async def turn(self, turn: Turn) -> None:
        self._write(turn.line or line_of(turn))
        if self._sync is not None:
            await self._sync(self._file.fileno())

    def stands(self, standing: Mapping[str, Any]) -> None:
        """How the session stands, until it is called again."""
        self._write(orjson.dumps({"standing": standing}))

    def calling(self) -> None:
        """The session is about to be called."""
        self._write(b'{"calling":true}')

    def close(self) -> None:
        self._file.close()

    def _write(self, data: bytes) -> None:
        line = data + b"\n"
        written = self._file.write(line)  # a few microseconds: it ends in the page cache
        while written < len(line):
            written += self._file.write(line[written:])


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


def read_journal(path: Path) -> Earlier:
    """The whole turns of a file, up to the first that is cut off or out of order."""
    turns: list[Turn] = []
    standing: Mapping[str, Any] | None = None
    former: Mapping[str, Any] | None = None
    marks: list[Mark] = []
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Earlier()
    for line in data.splitlines(keepends=True):
        standing = None
        try:
            if not line.endswith(b"\n"):
                break
            value = orjson.loads(line)
            if "mark" in value:
                marks.append(Mark.model_validate(value["mark"]))
                continue
            if "index" not in value:
                standing = value.get("standing")
                former = standing or former
                continue
            turn = turn_of(value)
        except (ValueError, LookupError, TypeError, AttributeError):  # the end of what a lost machine was writing
            break
        if turn.index != len(turns):
            break
        turns.append(turn)
    return Earlier(tuple(turns), standing, former, tuple(marks))


def _sync_all(handles: tuple[int, ...]) -> dict[int, OSError]:
    failures: dict[int, OSError] = {}
    for handle in handles:
        try:
            os.fsync(handle)
        except OSError as e:
            failures[handle] = e
    return failures
