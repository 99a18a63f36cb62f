"""A compilation in steps: each a job that another worker can take again, and the same bytes whoever takes them."""

import multiprocessing
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from api.cli.dataset_commands import version_folder
from api.compile_jobs import queue_compilation, requeue_forgotten
from api.compile_steps import KIND, Step, candidates, take_step
from api.compile_told import Interrupted
from api.service import Service
from compiler.compilation import compile_dataset
from compiler.recipe import Recipe, SearchPolicy
from compiler.recipe_split import Split
from compiler.work import SHARD, Plan, compilation_folder
from rollout.blobs import FolderBlobs
from rollout.runs import Claim
from rollout.store import Store
from tests.compiler.conftest import World

POINTS = 20
RECIPE = Recipe(formats=("messages",), search=SearchPolicy(siblings="task"), split=Split(validation=0.3))
"""What looks over the whole dataset is in it."""


def fill(service: Service, trajectories: int) -> list[str]:
    """Their ids. Every third is wrong; three attempts at each question."""
    world = World()
    world.blobs = service.blobs  # type: ignore[assignment]
    for n in range(trajectories):
        pages = [(f"d{n}", f"Page {n} of many."), (f"e{n // 9}", f"Page {n // 9} of a few.")]
        found = world.search(
            f"s{n:04d}",
            f"Question {n // 3}?",
            opened=pages,
            listed=(),
            gold=(),
            score=world.wrong if n % 3 == 2 else world.right,
        )
        service.store.save_trajectory(found.trajectory, found.reference, found.score)
    return [row.id for row in service.store.trajectories(limit=1000).items]


def contents(dataset: Path) -> dict[str, dict[str, bytes]]:
    """Visible versions: file -> bytes."""
    visible = [v for v in dataset.iterdir() if not v.name.startswith(".")] if dataset.exists() else []
    return {v.name: {p.relative_to(v).as_posix(): p.read_bytes() for p in v.rglob("*") if p.is_file()} for v in visible}


def steps_of(id: str, shards: int) -> list[Step]:
    each = [Step(compilation=id, shard=n) for n in range(shards)]
    return [Step(compilation=id), *each, Step(compilation=id, publish=True)]


def take(service: Service, steps: Iterable[Step], datasets: Path) -> None:
    for step in steps:
        take_step(service.store, service.blobs, datasets, step)


def claimed(service: Service) -> tuple[Claim, ...]:
    return service.store.claim("w", (KIND,), 1, service.store.now(), 60)


@pytest.fixture
def whole(service: Service, tmp_path: Path) -> dict[str, dict[str, bytes]]:
    """What one process makes of all trajectories at once."""
    ids = fill(service, SHARD + 6)
    compile_dataset(RECIPE, candidates(service.store, ids), service.blobs, tmp_path / "whole", "demo")
    return contents(tmp_path / "whole" / "demo")


def test_jobs_make_what_one_process_makes(service: Service, whole: Any) -> None:
    id = queue_compilation(service, RECIPE, "demo").id
    taken = []
    while claims := claimed(service):
        take_step(service.store, service.blobs, service.settings.datasets, Step.model_validate(claims[0].payload))
        service.store.finish(claims[0])
        taken.append(claims[0].payload)
    shards = [{"compilation": id, "shard": n} for n in range(2)]
    assert taken == [{"compilation": id}, *shards, {"compilation": id, "publish": True}]
    done = service.store.compilation(id)
    assert (done.state, done.version) == ("succeeded", next(iter(whole)))
    assert contents(service.settings.datasets / "demo") == whole
    assert sorted(p.name for p in (service.settings.datasets / "demo").iterdir()) == sorted(whole)


def test_steps_taken_twice_and_out_of_turn_change_nothing(service: Service, whole: Any) -> None:
    id = queue_compilation(service, RECIPE, "demo").id
    plan, first, second, publish = steps_of(id, 2)
    take(service, [plan, plan, second, second, first, plan, publish, publish, first], service.settings.datasets)
    assert contents(service.settings.datasets / "demo") == whole
    assert sorted(p.name for p in (service.settings.datasets / "demo").iterdir()) == sorted(whole)


def test_alone_one_process_takes_all_steps(service: Service, whole: Any) -> None:
    id = queue_compilation(service, RECIPE, "demo").id
    take_step(service.store, service.blobs, service.settings.datasets, Step(compilation=id), alone=True)
    assert contents(service.settings.datasets / "demo") == whole


def test_compiled_again_after_another_recipe_a_version_is_the_one_that_is_pulled_and_verified(service: Service) -> None:
    fill(service, 3)
    for recipe in (RECIPE, Recipe(environments=("sql",)), RECIPE):
        take(service, steps_of(queue_compilation(service, recipe, "demo").id, 1), service.settings.datasets)
    first, other = service.store.versions("demo")
    assert (first.manifest["accounts"]["published"], other.manifest["accounts"]["published"]) == (2, 0)
    assert version_folder("demo", service.settings.datasets).name == first.version


def test_a_trajectory_that_came_after_the_plan_is_not_in_it(service: Service, whole: Any) -> None:
    id = queue_compilation(service, RECIPE, "demo").id
    plan, *rest = steps_of(id, 2)
    take(service, [plan], service.settings.datasets)
    late = World()
    late.blobs = service.blobs  # type: ignore[assignment]
    service.store.save_trajectory(late.search("s9999").trajectory)
    take(service, [plan, *rest], service.settings.datasets)
    assert contents(service.settings.datasets / "demo") == whole


def test_an_interrupted_step_is_gone_on_with(service: Service, whole: Any) -> None:
    id = queue_compilation(service, RECIPE, "demo").id
    looks = iter(range(1000))
    with pytest.raises(Interrupted):
        take_step(
            service.store,
            service.blobs,
            service.settings.datasets,
            Step(compilation=id),
            lambda: next(looks) > 2 * SHARD + 10,
            alone=True,
        )
    folder = compilation_folder(service.settings.datasets / "demo", id)
    (done,) = Plan(folder).done
    inode = (done / "examples.jsonl").stat().st_ino
    take(service, [Step(compilation=id, shard=0)], service.settings.datasets)
    assert (done / "examples.jsonl").stat().st_ino == inode
    take_step(service.store, service.blobs, service.settings.datasets, Step(compilation=id), alone=True)
    assert contents(service.settings.datasets / "demo") == whole


def test_a_step_that_is_stopped_after_its_compilation_was_cancelled_leaves_no_files(service: Service) -> None:
    fill(service, SHARD + 1)
    datasets = service.settings.datasets
    for cancelled in (False, True):
        id = queue_compilation(service, RECIPE, "demo").id

        def stopped(id: str = id, cancelled: bool = cancelled) -> bool:
            if cancelled:
                service.store.cancel_compilation(id)
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            take_step(service.store, service.blobs, datasets, Step(compilation=id), stopped, alone=True)
        assert compilation_folder(datasets / "demo", id).exists() is not cancelled


def test_what_a_cancelled_or_failed_compilation_left_is_removed(service: Service, whole: Any) -> None:
    demo = service.settings.datasets / "demo"
    cancelled, failed, living = (queue_compilation(service, RECIPE, "demo").id for _ in range(3))
    for id in (cancelled, failed, living):
        take(service, steps_of(id, 2)[:2], service.settings.datasets)
    service.store.cancel_compilation(cancelled)
    service.store.set_compilation(failed, "failed", error="for this test")
    requeue_forgotten(service)
    assert [p.name for p in demo.iterdir()] == [f".compilation-{living}"]
    take(service, steps_of(living, 2), service.settings.datasets)
    assert sorted(p.name for p in demo.iterdir()) == sorted(whole)


class Deadly(FolderBlobs):
    """Ends the process, without any clean-up, at its n-th read; renames count as reads, before and after."""

    left = 0
    reads = 0

    def get(self, hash: str) -> bytes:
        self.step()
        return super().get(hash)

    def step(self) -> None:
        self.reads += 1
        self.left -= 1
        if self.left == 0:
            os._exit(9)


def deadly(database: str, blobs: Deadly, steps: list[Step], datasets: Path) -> None:
    plain = {name: getattr(os, name) for name in ("rename", "replace")}

    def counted(name: str) -> Any:
        def go(*paths: Any) -> None:
            blobs.step()
            plain[name](*paths)
            blobs.step()

        return go

    for name in plain:
        setattr(os, name, counted(name))
    try:
        with Store.open(database, blobs) as store:
            for step in steps:
                take_step(store, blobs, datasets, step)
    finally:
        for name, function in plain.items():
            setattr(os, name, function)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_killed_at_twenty_points_of_its_steps(service: Service, whole: Any, tmp_path: Path) -> None:
    def compilation() -> list[Step]:
        return steps_of(service.store.create_compilation(RECIPE.model_dump(mode="json"), "demo").id, 2)

    counting = Deadly(service.settings.blobs)
    deadly(service.settings.database, counting, compilation(), tmp_path / "counted")
    assert contents(tmp_path / "counted" / "demo") == whole
    context = multiprocessing.get_context("fork")
    codes, unfinished = [], 0
    for n in range(POINTS):
        blobs, steps, datasets = Deadly(service.settings.blobs), compilation(), tmp_path / f"killed-{n}"
        blobs.left = 1 + n * (counting.reads - 1) // (POINTS - 1)
        process = context.Process(target=deadly, args=(service.settings.database, blobs, steps, datasets))
        process.start()
        process.join(300)
        codes.append(process.exitcode)
        unfinished += contents(datasets / "demo") == {}
        assert contents(datasets / "demo") in ({}, whole)
        take(service, steps, datasets)
        assert contents(datasets / "demo") == whole
        assert [p.name for p in (datasets / "demo").iterdir()] == list(whole)
        shutil.rmtree(datasets)
    assert codes == [9] * POINTS
    assert unfinished >= POINTS / 2


class AtTheLastMoment(FolderBlobs):
    """Cancels the compilation when its publication reads a piece."""

    def __init__(self, service: Service, id: str) -> None:
        super().__init__(service.settings.blobs)
        self.service, self.id = service, id

    def get(self, hash: str) -> bytes:
        self.service.store.cancel_compilation(self.id)
        return super().get(hash)


def test_a_cancel_while_a_version_is_written_leaves_no_folder_that_nobody_lists(service: Service) -> None:
    fill(service, SHARD + 1)
    datasets = service.settings.datasets
    id = queue_compilation(service, RECIPE, "demo").id
    *before, publish = steps_of(id, 2)
    take(service, before, datasets)
    with pytest.raises(Interrupted):
        take_step(service.store, AtTheLastMoment(service, id), datasets, publish)
    assert service.store.compilation(id).state == "cancelled"
    assert list((datasets / "demo").iterdir()) == []
