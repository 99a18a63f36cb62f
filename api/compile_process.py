"""`python -m api.compile_process`: work off one compilation, named by a line of JSON on stdin.

Exits 0 once the compilation stands as succeeded, failed or cancelled, and dies with the process that started it.
"""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import orjson

from api.asking import QueuedAsker
from compiler.candidate import Candidate
from compiler.compilation import compile_dataset
from compiler.errors import CompileError
from compiler.recipe import Recipe, parse_recipe
from compiler.select import run_select
from rollout.blobs import FolderBlobs
from rollout.database import Conflict
from rollout.store import Store

log = logging.getLogger(__name__)

TELL_SECONDS = 2.0
"""Between two words about progress."""


class Interrupted(BaseException):
    """The compilation was asked to stop. No fault, so it passes what handles faults."""


NO_SCORERS: Mapping[str, str] = MappingProxyType({})


def compile_one(
    store: Store,
    blobs: FolderBlobs,
    datasets: Path,
    id: str,
    stopped: Callable[[], bool] = lambda: False,
    scorers: Mapping[str, str] = NO_SCORERS,
) -> None:
    """Raises only what another attempt may mend; a compilation that cannot go on is set to `failed`.

    `stopped` is asked between trajectories, and while a model is waited for; `Interrupted` once it says so, or the
    compilation was cancelled. `scorers`: what judges in each environment, for recipes that ask models.
    """
    compilation = store.compilation(id)
    if compilation.state not in ("queued", "running"):
        return
    told = Told(store, id, stopped)
    try:
        told.now()
        recipe = parse_recipe(compilation.recipe)
        asker = told.asker = QueuedAsker(store, blobs, scorers, told.pause, id) if recipe.asked else None
        done = compile_dataset(
            recipe, candidates(store, recipe), blobs, datasets, compilation.dataset, told.progress, asker=asker
        )
        store.publish(id, done.name, done.version, done.manifest, done.accounts.model_dump())
    except CompileError as e:
        told.failed(str(e))
    except Conflict as e:
        raise Interrupted(str(e)) from None
    except Exception as e:
        log.exception("compilation %s", id)
        told.failed(f"a fault of trajc: {type(e).__name__}: {e}")


class Told:
    """Tells the store how a compilation comes along, and learns from it whether anybody still wants it."""

    def __init__(self, store: Store, id: str, stopped: Callable[[], bool]) -> None:
        self.store = store
        self.id = id
        self.stopped = stopped
        self.asker: QueuedAsker | None = None
        self._accounts: dict[str, int] = {}
        self._at = 0.0

    def progress(self, read: int, built: int) -> None:
        self._accounts = {"read": read, "built": built}
        self.look()

    def pause(self, seconds: float) -> None:
        self.look()
        time.sleep(seconds)

    def look(self) -> None:
        """Raises `Interrupted`."""
        if self.stopped():
            raise Interrupted
        if time.monotonic() - self._at >= TELL_SECONDS:
            self.now()

    def now(self) -> None:
        self._at = time.monotonic()
        try:
            self.store.set_compilation(self.id, "running", accounts=self._accounts | self._calls() or None)
        except Conflict as e:
            raise Interrupted(str(e)) from None

    def _calls(self) -> dict[str, int]:
        return {"calls": self.asker.ordered, "answered": self.asker.answered} if self.asker else {}

    def failed(self, words: str) -> None:
        try:
            self.store.set_compilation(self.id, "failed", error=words)
        except Conflict as e:
            raise Interrupted(str(e)) from None


def candidates(store: Store, recipe: Recipe) -> Iterator[Candidate]:
    """The runs' finished and partial trajectories, so that the partial ones are counted as dropped; of those the
    selected ones. Raises `RecipeError`."""
    if recipe.select is None:
        chosen = store.candidates(runs=recipe.runs, partial=None)
    else:
        chosen = store.candidates_of(run_select(recipe.select, store.trajectory_view(runs=recipe.runs)))
    for found in chosen:
        yield Candidate(trajectory=found.trajectory, reference=found.reference, score=found.score)


def die_with(pipe: int) -> None:
    """End this process when the pipe does: nobody waits for it any more."""
    while os.read(pipe, 1):
        pass
    os.kill(os.getpid(), signal.SIGINT)


def main() -> None:
    order = orjson.loads(sys.stdin.buffer.readline())
    threading.Thread(target=die_with, args=(sys.stdin.fileno(),), daemon=True).start()
    home = Path(order["home"])
    blobs = FolderBlobs(home / "blobs")
    with Store.open(order["database"], blobs) as store:
        try:
            compile_one(store, blobs, home / "datasets", order["compilation"], scorers=order["scorers"])
        except Interrupted as e:
            log.warning("compilation %s: %s", order["compilation"], e)


if __name__ == "__main__":
    main()
