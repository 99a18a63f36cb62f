"""What `trajc tasks load-swe` and `rate-swe` do."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from api.cli.make_swe import write_tasks
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
class Load:
    """What became of every row: rows = tasks + left out."""

    loaded: tuple[Loaded, ...]

    @property
    def tasks(self) -> list[tuple[Task, Reference]]:
        return [one.task for one in self.loaded if one.task is not None]

    @property
    def left_out(self) -> list[Loaded]:
        return [one for one in self.loaded if one.task is None]

    @property
    def images(self) -> dict[str, dict[str, Any]]:
        """Image -> how many rows want it and whether the engine has it."""
        wanted = Counter(one.image or "" for one in self.loaded)
        there = {one.image or "": one.present for one in self.loaded}
        return {image: {"rows": count, "present": there[image]} for image, count in sorted(wanted.items())}


async def load(sources: Sequence[Path], loading: Loading, settings: Settings, tell: Callable[[Loaded], None]) -> Load:
    """Raises `TaskError` where a source cannot be read, `SandboxError` where the engine fails."""
    settings.home.mkdir(parents=True, exist_ok=True)
    blobs = FolderBlobs(settings.blobs)
    site = site_of(settings, blobs, "swe")
    environment = SweEnvironment(site)
    loading = replace(
        loading,
        docker_url=str(site.settings.get("docker_url") or DEFAULT_URL),
        service=site.service,
    )
    rows = chain.from_iterable(read_rows(source) for source in sources)
    found = []
    try:
        async with aclosing(load_rows(rows, loading, environment.sandboxes, blobs)) as loaded:
            async for one in loaded:
                tell(one)
                found.append(one)
    finally:
        await environment.close()
    return Load(tuple(found))


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
