"""A run that names a recipe is compiled while it goes on: the work is done before, the bytes are those of after."""

import multiprocessing
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from api.ahead import BATCH, Ahead
from api.compile_ahead import prepare
from api.compile_jobs import compile_claim
from api.compile_steps import KIND, Step, candidates, take_step
from api.run_recipes import begin, compile_if_wanted, dataset_name, heed, look
from api.service import Service
from compiler.build import outcomes
from compiler.compilation import compile_dataset, renderings_file
from compiler.drops import Dropped
from compiler.recipe import Recipe, SearchPolicy
from compiler.render import Renderer
from compiler.renderings import FileRenderings, Rendering
from compiler.tokens import load_tokenizer
from rollout.ids import trajectory_id
from rollout.runs import Claim, RunSpec, TaskRow
from rollout.schema import runs
from rollout.store import Store
from tests.api.test_compile_steps import Deadly
from tests.compiler.conftest import World

RECIPE: dict[str, Any] = {"formats": ["messages"], "seed": 3}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Counting(FileRenderings):
    """Keeps what was rendered anew."""

    def __init__(self, path: Path):
        super().__init__(path)
        self.fresh: list[str] = []

    def put(self, key: str, rendering: Rendering) -> None:
        self.fresh.append(key)
        super().put(key, rendering)


class Running:
    """A run of search rollouts, which the test finishes one by one."""

    def __init__(self, service: Service, n: int, recipe: dict[str, Any] | None = RECIPE) -> None:
        self.service = service
        self.world = World()
        self.world.blobs = service.blobs  # type: ignore[assignment]
        pages = [(f"d{i}", f"Page {i} of many.") for i in range(n)]
        self.found = [
            self.world.search(f"s{i}", f"Question {i}?", opened=[page], listed=(), gold=())
            for i, page in enumerate(pages)
        ]
        rows = [TaskRow(f.trajectory.task, f.reference) for f in self.found]
        spec = RunSpec.model_validate({"environment": "search", "model": "m", "recipe": recipe})
        self.id = service.store.create_run(spec, rows, sealed=True).id
        self.claims: tuple[Claim, ...] = service.store.claim("w", ("rollout",), n, service.store.now(), 600)
        assert len(self.claims) == n

    def finish(self, *numbers: int) -> None:
        for number in numbers:
            claim = self.claims[number]
            task = self.service.store.work(claim.job).task
            (found,) = [f for f in self.found if f.trajectory.task.id == task.id]
            ids = {"id": trajectory_id(claim.job, claim.attempt), "run": self.id, "rollout": claim.job}
            made = found.trajectory.model_copy(update={**ids, "task": task})
            assert self.service.store.finish(claim, made, found.score) == "applied"


def heard(service: Service, ahead: Ahead, after: int = 0) -> int:
    """Hand over what has happened since; returns the last event's number."""
    while events := service.store.events(after):
        for event in events:
            after = event.id
            heed(service, ahead, event)
    return after


def orders(service: Service) -> tuple[Claim, ...]:
    return service.store.claim("w", (KIND,), 100, service.store.now(), 600)


def known(service: Service) -> int:
    path = renderings_file(service.settings.datasets)
    if not path.exists():
        return 0
    with sqlite3.connect(path, timeout=120) as db:
        return int(db.execute("SELECT count(*) FROM renderings").fetchone()[0])


async def test_work_is_done_before_the_end_and_the_bytes_are_those_of_after(service: Service, tmp_path: Path) -> None:
    run, clock = Running(service, 4), Clock()
    ahead = Ahead(service, monotonic=clock)
    run.finish(0, 1, 2)
    seen = heard(service, ahead)
    ahead.turn()
    assert orders(service) == ()
    clock.now = 5.0
    ahead.turn()
    (claim,) = orders(service)
    assert len(claim.payload["trajectories"]) == 3
    assert service.store.run(run.id).finished is None
    await compile_claim(service, claim)
    assert known(service) == 3
    service.store.finish(claim)

    run.finish(3)
    heard(service, ahead, seen)
    (compilation,) = service.store.compilations().items
    (claim,) = orders(service)
    assert claim.payload == {"compilation": compilation.id}
    take_step(service.store, service.blobs, service.settings.datasets, Step.model_validate(claim.payload), alone=True)
    done = service.store.compilation(compilation.id)
    assert (done.state, known(service)) == ("succeeded", 4)

    ids = [row.id for row in service.store.trajectories(runs=[run.id]).items]
    recipe = Recipe.model_validate({**RECIPE, "runs": [run.id]})
    after = compile_dataset(recipe, candidates(service.store, ids), service.blobs, tmp_path / "after", done.dataset)
    assert after.accounts.published == 4
    assert done.version == after.version


def test_a_compilation_finds_what_was_done_ahead(service: Service) -> None:
    run = Running(service, 3)
    run.finish(0, 1)
    ids = [row.id for row in service.store.trajectories(runs=[run.id]).items]
    order = {"run": run.id, "recipe": {**RECIPE, "runs": [run.id]}, "trajectories": ids}
    assert prepare(service.store, service.blobs, service.settings.datasets, order) == 2
    run.finish(2)
    recipe = Recipe.model_validate(order["recipe"])
    counting = Counting(renderings_file(service.settings.datasets))
    renderer = Renderer(service.blobs, load_tokenizer("qwen3"), counting)
    ids = [row.id for row in service.store.trajectories(runs=[run.id]).items]
    made = [outcome for _, outcome in outcomes(recipe, candidates(service.store, ids), renderer)]
    assert not any(isinstance(outcome, Dropped) for outcome in made)
    assert len(counting.fresh) == 1


def test_a_recipe_that_changes_renders_nothing_again(service: Service, tmp_path: Path) -> None:
    run = Running(service, 4)
    run.finish(0, 1, 2, 3)
    ids = [row.id for row in service.store.trajectories(runs=[run.id]).items]
    counting = Counting(tmp_path / "renderings.sqlite")
    versions, fresh = set(), []
    for change in ({}, {"seed": 1}, {"formats": ["tokenised"]}, {"mixture": {"search": 1}}, {"group_cap": 2}):
        recipe = Recipe.model_validate({**RECIPE, **change})
        found = candidates(service.store, ids)
        versions.add(compile_dataset(recipe, found, service.blobs, tmp_path, "demo", known=counting).version)
        fresh.append(len(counting.fresh))
    assert len(versions) == 5
    assert fresh == [4, 4, 4, 4, 4]
    another = Recipe.model_validate({**RECIPE, "chat_template": "none", "tokenizer": str(tokenizer_file(tmp_path))})
    compile_dataset(another, candidates(service.store, ids), service.blobs, tmp_path, "demo", known=counting)
    assert len(counting.fresh) == 8


def tokenizer_file(folder: Path) -> Path:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    made = Tokenizer(WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    made.pre_tokenizer = Whitespace()
    made.save(str(folder / "tokenizer.json"))
    return folder / "tokenizer.json"


def test_one_job_of_a_run_at_a_time_and_many_trajectories_at_once(service: Service) -> None:
    run, clock = Running(service, BATCH + 2), Clock()
    ahead = Ahead(service, monotonic=clock)
    run.finish(*range(BATCH))
    seen = heard(service, ahead)
    ahead.turn()
    (first,) = orders(service)
    assert len(first.payload["trajectories"]) == BATCH
    run.finish(BATCH)
    heard(service, ahead, seen)
    clock.now = 100.0
    ahead.turn()
    assert orders(service) == ()
    service.store.finish(first)
    ahead.turn()
    (second,) = orders(service)
    assert len(second.payload["trajectories"]) == 1


def test_what_a_service_left_undone_is_taken_up_by_the_next(service: Service) -> None:
    run, clock = Running(service, 2), Clock()
    run.finish(0)
    ahead = Ahead(service, monotonic=clock, wait_seconds=0.0)
    ahead.resume(service.store.run(run.id))
    ahead.turn()
    (claim,) = orders(service)
    assert len(claim.payload["trajectories"]) == 1


def test_what_is_ordered_late_or_breaks_stands_in_nobodys_way(service: Service) -> None:
    run = Running(service, 1)
    run.finish(0)
    ids = [row.id for row in service.store.trajectories(runs=[run.id]).items]
    order = {"run": run.id, "recipe": {**RECIPE, "runs": [run.id]}, "trajectories": ids}
    assert prepare(service.store, service.blobs, service.settings.datasets, order) == 0
    assert known(service) == 0
    compile_if_wanted(service, service.store.run(run.id))
    assert service.store.compilations().items[0].state == "queued"


def test_a_run_without_a_recipe_is_left_alone(service: Service) -> None:
    run = Running(service, 2, recipe=None)
    run.finish(0)
    ahead = Ahead(service, wait_seconds=0.0)
    heard(service, ahead)
    ahead.resume(service.store.run(run.id))
    ahead.turn()
    assert orders(service) == ()


@pytest.mark.parametrize(("select", "looked"), [("verdict = 'right'", 1), ("verdict = 'wrong'", 0)])
def test_only_what_the_recipe_would_select_is_prepared(service: Service, select: str, looked: int) -> None:
    run = Running(service, 2)
    run.finish(0)
    ids = [row.id for row in service.store.trajectories(runs=[run.id]).items]
    recipe = {"runs": [run.id], "select": f"select id from trajectories where {select}"}
    order = {"run": run.id, "recipe": recipe, "trajectories": ids}
    assert prepare(service.store, service.blobs, service.settings.datasets, order) == looked


def test_a_teacher_is_asked_while_the_run_goes_on(service: Service) -> None:
    """Once for each example, in no hurry: the job does not wait for replies."""
    run = Running(service, 3)
    run.finish(0, 1)
    ids = [row.id for row in service.store.trajectories(runs=[run.id]).items]
    recipe = Recipe.model_validate({"runs": [run.id], "target": "teacher", "teacher": {"model": "t", "samples": 2}})
    order = {"run": run.id, "recipe": recipe.model_dump(mode="json"), "trajectories": ids}
    given = (service.store, service.blobs, service.settings.datasets, order)
    for _ in range(2):
        assert prepare(*given, scorers={"search": "s"}) == 2
    asked = service.store.claim("w", ("generation",), 100, service.store.now(), 60)
    assert sorted(claim.payload["trajectory"] for claim in asked) == sorted([*ids, *ids])


def test_what_an_earlier_release_or_setting_queued_stops_nothing(service: Service) -> None:
    """A recipe with a field that is gone; one that was queued when the service named another model."""
    gone, renamed, fine = Running(service, 1), Running(service, 1), Running(service, 1)
    with service.store.write() as c:
        spec = {**service.store.run(gone.id).spec.model_dump(mode="json"), "recipe": {"no_such_field": 1}}
        c.execute(runs.update().where(runs.c.id == gone.id).values(spec=spec))
    for run in (gone, renamed, fine):
        run.finish(0)
    done = service.store.run(renamed.id)
    service.store.create_compilation(
        {}, dataset_name(done.name, done.id), idempotency_key=f"run {done.id} {done.finished}"
    )
    ahead = Ahead(service)
    after = begin(service, ahead)
    assert look(service, ahead, after) == service.store.last_event()
    assert {c.run for c in service.store.compilations().items} == {None, fine.id}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_killed_while_it_is_done_ahead(service: Service, tmp_path: Path) -> None:
    run = Running(service, 4)
    run.finish(0, 1, 2)
    ids = [row.id for row in service.store.trajectories(runs=[run.id]).items]
    order = {"run": run.id, "recipe": {**RECIPE, "runs": [run.id]}, "trajectories": ids}
    recipe = Recipe.model_validate(order["recipe"])
    whole = compile_dataset(recipe, candidates(service.store, ids), service.blobs, tmp_path / "whole", "demo").version
    codes = []
    for point in range(1, 7):
        blobs, datasets = Deadly(service.settings.blobs), tmp_path / f"killed-{point}"
        blobs.left = point
        given = (service.settings.database, blobs, datasets, order)
        process = multiprocessing.get_context("fork").Process(target=deadly_prepare, args=given)
        process.start()
        process.join(300)
        codes.append(process.exitcode)
        found = candidates(service.store, ids)
        assert compile_dataset(recipe, found, service.blobs, datasets, "demo").version == whole
    assert codes == [9] * 6


def deadly_prepare(database: str, blobs: Deadly, datasets: Path, order: dict[str, Any]) -> None:
    with Store.open(database, blobs) as store:
        prepare(store, blobs, datasets, order)


def test_siblings_that_finish_later_are_in_the_bytes_all_the_same(service: Service, tmp_path: Path) -> None:
    run = Running(service, 3)
    run.finish(0)
    recipe = Recipe(runs=(run.id,), search=SearchPolicy(siblings="world"), near_duplicates=None)
    ids = [row.id for row in service.store.trajectories(runs=[run.id]).items]
    order = {"run": run.id, "recipe": recipe.model_dump(mode="json"), "trajectories": ids}
    assert prepare(service.store, service.blobs, service.settings.datasets, order) == 1
    run.finish(1, 2)
    ids = [row.id for row in service.store.trajectories(runs=[run.id]).items]
    made = [
        compile_dataset(recipe, candidates(service.store, ids), service.blobs, folder, "demo")
        for folder in (service.settings.datasets, tmp_path / "after")
    ]
    assert made[0].version == made[1].version
    assert made[0].manifest["statistics"]["pieces"] == {"tier 0": 3, "tier 4": 6}
