"""What `trajc tasks load-swe` and `rate-swe` do."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from api.cli.make_swe import line_of, write_tasks
from api.cli.validate import lines_of
from api.service import site_of
from api.settings import Settings
from api.task_lines import parse_line
from envs.errors import TaskError
from envs.swe.difficulty import PassRate
from envs.swe.engine.engine import DEFAULT_URL
from envs.swe.environment import SweEnvironment, parse_world
from envs.swe.load_rows import Loaded, Loading, load_rows
from envs.swe.row_files import read_rows
from envs.task import Reference, Task
from rollout.blobs import FolderBlobs

if TYPE_CHECKING:
    from api.client import Client


@dataclass(frozen=True)
class Left:
    """A row that became no task, and why."""

    file: str
    row: int
    id: str
    image: str | None
    faults: tuple[str, ...]


@dataclass
class Load:
    """What became of every row: rows = tasks + left out."""

    tasks: int = 0
    left_out: list[Left] = field(default_factory=list)
    wanted: Counter[str] = field(default_factory=Counter)
    """Rows by image; "" is trajc's base image."""
    present: dict[str, bool] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        return self.tasks + len(self.left_out)

    def count(self, one: Loaded) -> None:
        self.wanted[one.image or ""] += 1
        self.present[one.image or ""] = one.present
        if one.task is not None:
            self.tasks += 1
        else:
            self.left_out.append(Left(one.row.file, one.row.number, one.row.name, one.image, one.faults))

    @property
    def images(self) -> dict[str, dict[str, Any]]:
        """Image -> how many rows want it and whether the engine has it."""
        return {image: {"rows": count, "present": self.present[image]} for image, count in sorted(self.wanted.items())}


async def load(
    sources: Sequence[Path], loading: Loading, settings: Settings, out: Path | None, tell: Callable[[Loaded], None]
) -> Load:
    """Tasks are written as they come, and the file is there only when whole; without `out` none is. Raises `TaskError`
    where a source cannot be read, `SandboxError` where the engine fails."""
    settings.home.mkdir(parents=True, exist_ok=True)
    blobs = FolderBlobs(settings.blobs)
    site = site_of(settings, blobs, "swe")
    environment = SweEnvironment(site)
    url = str(site.settings.get("docker_url") or DEFAULT_URL)
    loading = replace(loading, docker_url=url, service=site.service)
    rows = chain.from_iterable(read_rows(source) for source in sources)
    done = Load()
    partial = out.with_name(f".{out.name}.partial") if out else Path(os.devnull)
    try:
        with partial.open("wb") as lines:
            async with aclosing(load_rows(rows, loading, environment.sandboxes, blobs)) as loaded:
                async for one in loaded:
                    tell(one)
                    done.count(one)
                    if one.task is not None:
                        lines.write(line_of(*one.task))
    finally:
        await environment.close()
    if out and done.tasks:
        partial.replace(out)
    elif out:
        partial.unlink()
    return done


@dataclass(frozen=True)
class Rated:
    tasks: int
    measured: int
    """Tasks of which the runs have scored rollouts."""


def rate(file: Path, runs: Sequence[str], client: "Client", out: Path) -> Rated:
    """Writes the file's tasks with the share of rollouts that solved them, by model. Raises `TaskError`, `Problem` or
    `ServiceError`."""
    pairs = []
    for line in lines_of(file):
        task, reference = parse_line(line, "swe")
        pairs.append((task, reference or Reference()))
    rates = pass_rates(client, runs)
    rated = [(with_rates(task, rates.get(task.id, {})), reference) for task, reference in pairs]
    write_tasks(rated, out)
    return Rated(len(rated), sum(1 for task, _ in rated if task.id in rates))


def pass_rates(client: "Client", runs: Sequence[str]) -> dict[str, dict[str, PassRate]]:
    """Task id -> model -> its scored rollouts in these runs. What has no score says nothing."""
    counted: dict[tuple[str, str], list[bool]] = {}
    for run in runs:
        model = str(client.get(f"/v1/runs/{run}")["spec"]["model"])
        for rollout in _rollouts(client, run):
            scores = client.get(f"/v1/rollouts/{rollout['id']}")["scores"]
            if scores:
                # Scores are added and never changed: the last one stands.
                counted.setdefault((rollout["task_id"], model), []).append(scores[-1]["verdict"] == "right")
    rates: dict[str, dict[str, PassRate]] = {}
    for (task, model), right in counted.items():
        rates.setdefault(task, {})[model] = PassRate(rollouts=len(right), right=sum(right))
    return rates


def with_rates(task: Task, rates: dict[str, PassRate]) -> Task:
    """Rates of other models stay; of the same model the new ones stand. Raises `TaskError`."""
    if not rates:
        return task
    world = parse_world(task)
    if world.difficulty is None:
        raise TaskError(f"{task.id}: world.difficulty is missing; make or load the task anew")
    difficulty = world.difficulty.model_copy(update={"measured": {**world.difficulty.measured, **rates}})
    world = world.model_copy(update={"difficulty": difficulty})
    return task.model_copy(update={"world": world.model_dump(mode="json")})


def _rollouts(client: "Client", run: str) -> Iterator[Any]:
    cursor = None
    while True:
        page = client.get("/v1/rollouts", run=run, status="succeeded", cursor=cursor, limit=500)
        yield from page["items"]
        if (cursor := page["next"]) is None:
            return
