"""What a run's compilation will need, done while the run goes on: pieces rendered and counted, models asked.

Nothing of it decides anything. The compilation that follows the run reads the same trajectories in the same way and
finds most of its work done, so its bytes are those of a compilation that began after the end.
"""

import contextlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from api.asking import QueuedAsker
from api.compile_steps import NO_SCORERS, candidates
from api.compile_told import Interrupted
from compiler.build import prepare as prepare_one
from compiler.compilation import renderings_file
from compiler.recipe import Recipe, parse_recipe
from compiler.render import Renderer
from compiler.renderings import FileRenderings
from compiler.select import run_select
from compiler.shard import THREADS
from compiler.tokens import load_tokenizer
from envs.frozen import Frozen
from rollout.blobs import FolderBlobs
from rollout.store import Store


class Order(Frozen):
    """A job's payload: `recipe` is the run's, with the models that it asks."""

    run: str
    recipe: dict[str, Any]
    trajectories: tuple[str, ...]


class Later(Exception):
    """A model has not replied yet."""


def later(_: float) -> None:
    raise Later


def prepare(
    store: Store,
    blobs: FolderBlobs,
    datasets: Path,
    payload: dict[str, Any],
    stopped: Callable[[], bool] = lambda: False,
    scorers: Mapping[str, str] = NO_SCORERS,
) -> int:
    """The number of trajectories looked at: none once the run is over. Raises `Interrupted`."""
    order = Order.model_validate(payload)
    recipe = parse_recipe(order.recipe)
    asker = QueuedAsker(store, blobs, scorers, later, run=order.run) if recipe.asked else None
    looked = 0
    with ThreadPoolExecutor(THREADS) as threads:
        known = FileRenderings(renderings_file(datasets))
        renderer = Renderer(blobs, load_tokenizer(recipe.tokenizer), known, threads)
        for candidate in candidates(store, _chosen(store, recipe, order)):
            if stopped():
                raise Interrupted
            if store.run(order.run).finished is not None:
                break
            with contextlib.suppress(Later):
                prepare_one(candidate, recipe, renderer, asker)
            looked += 1
    return looked


def _chosen(store: Store, recipe: Recipe, order: Order) -> list[str]:
    """Those that the recipe would select if the run ended now."""
    if recipe.select is None:
        return list(order.trajectories)
    selected = set(run_select(recipe.select, store.trajectory_view(runs=recipe.runs)))
    return [id for id in order.trajectories if id in selected]
