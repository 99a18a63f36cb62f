"""What `trajc tasks mine-swe` does: rows from the history of a local clone."""

from collections import Counter
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from api.service import site_of
from api.settings import Settings
from envs.swe.environment import SweEnvironment
from envs.swe.make.history import History, commits, rows_of_history
from envs.swe.make.suite import Suite
from envs.swe.make.trial import Dropped
from rollout.blobs import FolderBlobs


@dataclass(frozen=True)
class Mined:
    """Commits looked at = rows + dropped, by reason."""

    rows: tuple[dict[str, Any], ...]
    dropped: dict[str, int]

    @property
    def commits(self) -> int:
        return len(self.rows) + sum(self.dropped.values())


@dataclass(frozen=True)
class Mine:
    """Where to look, and how the tests run there."""

    clone: Path
    repository: str
    revision: str
    image: str | None
    workdir: str
    command: str
    most: int | None
    """Rows wanted; None takes all that the history gives."""
    parallel: int


async def mine(where: Mine, settings: Settings, say: Callable[[str], None]) -> Mined:
    """Raises `TaskError`, `SandboxError`."""
    site = site_of(settings, FolderBlobs(settings.blobs), "swe")
    environment = SweEnvironment(site)
    suite = Suite(image=where.image, workdir=where.workdir, command=where.command, service=site.service)
    history = History(where.clone, where.repository, suite, where.image)
    rows: list[dict[str, Any]] = []
    dropped: Counter[str] = Counter()
    try:
        wanted = commits(where.clone, where.revision)
        async with aclosing(rows_of_history(history, wanted, environment.sandboxes, where.parallel)) as found:
            async for commit, one in found:
                if isinstance(one, Dropped):
                    dropped[one.reason] += 1
                    continue
                rows.append(one)
                say(f"{commit[:10]}: {len(orjson.loads(one['FAIL_TO_PASS']))} tests tell the difference")
                if len(rows) == where.most:
                    break
    finally:
        await environment.close()
    return Mined(tuple(rows), dict(sorted(dropped.items())))


def write_rows(rows: tuple[dict[str, Any], ...], path: Path) -> None:
    """There only when whole."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    partial.replace(path)
