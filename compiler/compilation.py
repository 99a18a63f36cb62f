"""The compiler's entry: candidates in, a published dataset version out."""

import shutil
import uuid
from collections.abc import Iterable
from pathlib import Path

from compiler.candidate import Candidate
from compiler.publish import Published, publish
from compiler.recipe import Recipe
from compiler.renderings import FileRenderings, Renderings
from compiler.shard import Progress, compile_shard
from envs.blobs import BlobStore


def compile_dataset(
    recipe: Recipe,
    candidates: Iterable[Candidate],
    blobs: BlobStore,
    datasets: Path,
    name: str,
    progress: Progress | None = None,
    known: Renderings | None = None,
) -> Published:
    """Blocking and CPU-bound; candidates are read once, one at a time, in any order: the bytes do not depend on it.

    Raises `RecipeError` (tokenizer) and `PublishError`. What goes wrong with one trajectory is a drop, no error.
    """
    work = datasets / name / f".work-{uuid.uuid4().hex}"
    work.mkdir(parents=True)
    try:
        known = known or FileRenderings(datasets / ".renderings.sqlite")
        shard = work / "shard-00000"
        compile_shard(recipe, candidates, blobs, shard, known, progress)
        return publish(recipe, [shard], blobs, datasets, name, known)
    finally:
        shutil.rmtree(work, ignore_errors=True)
