"""The steps of a queued compilation: which trajectories each shard holds, each shard, and publication.

    {"compilation": C}                    plan; orders the shards
    {"compilation": C, "shard": N}        compile one of them; the last to stand orders the publication
    {"compilation": C, "publish": true}   merge them into a version

Each is a job. Done again, by another worker or after a kill, a step finds what stands and goes on from there, so the
published bytes are the same. What is alone on its machine, or small, takes all the steps in one process.
"""

import logging
import os
import shutil
import sqlite3
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from api.asking import QueuedAsker
from api.compile_told import Ended, Told
from compiler.candidate import Candidate
from compiler.compilation import renderings_file
from compiler.errors import CompileError
from compiler.publish import place, publish
from compiler.recipe import Recipe, parse_recipe
from compiler.renderings import FileRenderings
from compiler.select import run_select
from compiler.shard import Summary, compile_shard
from compiler.siblings import Siblings, gather, wants_siblings
from compiler.work import SHARD, Plan, compilation_folder, remove_ended
from envs.frozen import Frozen
from rollout.blobs import FolderBlobs
from rollout.database import Conflict, NotFound, stays
from rollout.runs import JobKind
from rollout.store import Store

log = logging.getLogger(__name__)

KIND: JobKind = "compile_shard"
AT_ONCE = 200
"""Jobs ordered by one statement."""
ASKING_ALONE = 1024
"""Trajectories of a shard that nobody shares and that waits for models: at its end the last replies are waited for."""
NO_SCORERS: Mapping[str, str] = MappingProxyType({})


class Step(Frozen):
    """A job's payload."""

    compilation: str
    shard: int | None = None
    publish: bool = False


def take_step(
    store: Store,
    blobs: FolderBlobs,
    datasets: Path,
    step: Step,
    stopped: Callable[[], bool] = lambda: False,
    scorers: Mapping[str, str] = NO_SCORERS,
    *,
    alone: bool = False,
) -> None:
    """Raises only what another attempt may mend; a compilation that cannot go on is set to `failed`.

    `alone`: nobody else is there to take the steps that follow, so this process takes them too. `stopped` is asked
    between trajectories, and while a model is waited for; `Interrupted` once it says so, or the compilation was
    cancelled. `scorers`: what judges in each environment, for recipes that ask models.
    """
    compilation = store.compilation(step.compilation)
    if step.shard is None and not step.publish:
        remove_ended(datasets, lambda id: is_wanted(store, id))
    folder = compilation_folder(datasets / compilation.dataset, compilation.id)
    if compilation.state not in ("queued", "running"):
        shutil.rmtree(folder, ignore_errors=True)
        return
    told = Told(store, compilation.id, stopped)
    try:
        told.now()
        recipe = parse_recipe(compilation.recipe)
        asker = told.asker = QueuedAsker(store, blobs, scorers, told.pause, told.id) if recipe.asked else None
        known = FileRenderings(renderings_file(datasets))
        work = Work(store, blobs, folder, recipe, told, asker, known)
        if step.shard is None and not step.publish:
            work.plan(alone)
        elif step.shard is not None:
            work.shard(step.shard)
            work.order_publication()
        else:
            work.publish()
    except CompileError as e:
        told.failed(
            str(e) + (f". A model call of it that failed: {call}" if (call := store.failed_call(told.id)) else "")
        )
        shutil.rmtree(folder, ignore_errors=True)
    except (Conflict, Ended) as e:
        shutil.rmtree(folder, ignore_errors=True)
        raise Ended(str(e)) from None
    except KeyboardInterrupt:  # nobody waits for this process any more: of a cancelled one that is the first it hears
        if not is_wanted(store, told.id):
            shutil.rmtree(folder, ignore_errors=True)
        raise
    except Exception as e:  # a file that a recipe names and that is not here, a full disk: no fault of ours
        if not stays(e):
            raise
        if not is_wanted(store, told.id):  # cancelled, and its folder removed by another process
            raise Ended(str(e)) from None
        log.exception("compilation %s", told.id)
        told.failed(words_of(e, datasets))
        shutil.rmtree(folder, ignore_errors=True)


def words_of(error: Exception, datasets: Path) -> str:
    """The compiler's work files are SQLite's too, which tells a full disk in words of its own and names no file."""
    if isinstance(error, sqlite3.OperationalError):
        return f"{datasets}: {error}"
    return str(error) if isinstance(error, OSError) else f"a fault of trajc: {type(error).__name__}: {error}"


def is_wanted(store: Store, id: str) -> bool:
    try:
        return store.compilation(id).state in ("queued", "running")
    except NotFound:
        return False


@dataclass(frozen=True)
class Work:
    """One compilation, as one process works on it."""

    store: Store
    blobs: FolderBlobs
    folder: Path
    recipe: Recipe
    told: Told
    asker: QueuedAsker | None
    known: FileRenderings

    def plan(self, alone: bool) -> None:
        plan = Plan(self.folder)
        if not plan.made:
            self.folder.mkdir(parents=True, exist_ok=True)
            ids = list(chosen(self.store, self.recipe))
            if wants_siblings(self.recipe):
                self.gather(ids)
            plan.make(ids, ASKING_ALONE if alone and self.recipe.asked else SHARD)
        if alone or plan.shards == 1:
            for number in range(plan.shards):
                self.shard(number)
            self.publish()
            return
        for first in range(0, plan.shards, AT_ONCE):
            numbers = range(first, min(first + AT_ONCE, plan.shards))
            self.order({f"{n:05d}": {"shard": n} for n in numbers})

    def shard(self, number: int) -> None:
        plan = Plan(self.folder)
        summaries = [Summary.model_validate_json((path / "done.json").read_bytes()) for path in plan.done]
        self.told.before = (sum(s.selected for s in summaries), sum(s.built for s in summaries))
        compile_shard(
            self.recipe,
            candidates(self.store, plan.ids(number)),
            self.blobs,
            plan.shard(number),
            self.known,
            self.told.progress,
            self.asker,
            Siblings(self.siblings) if wants_siblings(self.recipe) else None,
        )

    def order_publication(self) -> None:
        """Of two shards that end at once each stands before it looks, so one of them sees all."""
        if Plan(self.folder).whole:
            self.order({"publish": {"publish": True}})

    def publish(self) -> None:
        plan = Plan(self.folder)
        if not plan.whole:
            raise CompileError("shards are missing: compile again")
        home = self.folder.parent
        staged = self.folder / "published" / home.name
        staged.mkdir(parents=True, exist_ok=True)
        done = publish(self.recipe, plan.done, self.blobs, staged, self.folder, self.known)
        accounts = done.accounts.model_dump()
        self.store.publish(
            self.told.id,
            done.name,
            done.version,
            done.manifest,
            accounts,
            lambda: place(done.path, home / done.version),
        )
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def siblings(self) -> Path:
        return self.folder / "siblings.sqlite"

    def gather(self, ids: Iterable[str]) -> None:
        temporary = self.folder / f".siblings-{uuid.uuid4().hex}"
        gather(self.looked_at(candidates(self.store, ids)), temporary)
        os.replace(temporary, self.siblings)

    def looked_at(self, found: Iterable[Candidate]) -> Iterator[Candidate]:
        for candidate in found:
            self.told.look()
            yield candidate

    def order(self, steps: Mapping[str, dict[str, Any]]) -> None:
        """Under ids that follow from the compilation, so each is there once however often it is ordered."""
        id = self.told.id
        jobs = {f"cs_{id.partition('_')[2]}_{name}": {"compilation": id, **step} for name, step in steps.items()}
        self.store.order(KIND, jobs, compilation=id)


def candidates(store: Store, ids: Iterable[str]) -> Iterator[Candidate]:
    for found in store.candidates_of(ids):
        yield Candidate(trajectory=found.trajectory, reference=found.reference, score=found.score)


def chosen(store: Store, recipe: Recipe) -> Iterator[str]:
    """The runs' finished and partial trajectories, so that the partial ones are counted as dropped; of those the
    selected ones. Raises `RecipeError`."""
    if recipe.select is not None:
        yield from run_select(recipe.select, store.trajectory_view(runs=recipe.runs))
        return
    cursor = None
    while True:
        page = store.trajectories(runs=recipe.runs, partial=None, cursor=cursor, limit=1000)
        yield from (row.id for row in page.items)
        if (cursor := page.next) is None:
            return
