"""`python -m api.compile_process`: work off one compilation, named by a line of JSON on stdin.

Exits 0 once the compilation stands as succeeded or failed, and dies with the process that started it.
"""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson

from api.teaching import QueuedTeacher
from compiler.candidate import Candidate
from compiler.compilation import compile_dataset
from compiler.errors import CompileError
from compiler.recipe import Recipe, parse_recipe
from compiler.select import run_select
from rollout.blobs import FolderBlobs
from rollout.store import Store

log = logging.getLogger(__name__)

TELL_SECONDS = 2.0
"""Between two words about progress."""


class Interrupted(BaseException):
    """The compilation was asked to stop. No fault, so it passes what handles faults."""


def compile_one(
    store: Store, blobs: FolderBlobs, datasets: Path, id: str, stopped: Callable[[], bool] = lambda: False
) -> None:
    """Raises only what another attempt may mend; a compilation that cannot go on is set to `failed`.

    `stopped` is asked between trajectories, and while a teacher is waited for; `Interrupted` once it says so.
    """
    compilation = store.compilation(id)
    if compilation.state not in ("queued", "running"):
        return
    store.set_compilation(id, "running")
    told = time.monotonic()

    def progress(read: int, built: int) -> None:
        nonlocal told
        if stopped():
            raise Interrupted
        if time.monotonic() - told >= TELL_SECONDS:
            told = time.monotonic()
            store.set_compilation(id, "running", accounts={"read": read, "built": built})

    def pause(seconds: float) -> None:
        if stopped():
            raise Interrupted
        time.sleep(seconds)

    try:
        recipe = parse_recipe(compilation.recipe)
        teacher = QueuedTeacher(store, blobs, recipe.teacher, pause) if recipe.target == "teacher" else None
        done = compile_dataset(
            recipe, candidates(store, recipe), blobs, datasets, compilation.dataset, progress, teacher=teacher
        )
    except CompileError as e:
        store.set_compilation(id, "failed", error=str(e))
        return
    except Exception as e:
        log.exception("compilation %s", id)
        store.set_compilation(id, "failed", error=f"a fault of trajc: {type(e).__name__}: {e}")
        return
    store.add_version(done.name, done.version, done.manifest, id)
    store.set_compilation(id, "succeeded", version=done.version, accounts=done.accounts.model_dump())


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
        compile_one(store, blobs, home / "datasets", order["compilation"])


if __name__ == "__main__":
    main()
