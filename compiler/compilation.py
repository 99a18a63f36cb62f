"""The compiler's entry: candidates in, a published dataset version out."""

import multiprocessing
import shutil
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import islice
from pathlib import Path

from compiler.asking import Asker
from compiler.candidate import Candidate
from compiler.publish import Published, publish
from compiler.recipe import Recipe
from compiler.renderings import FileRenderings, Renderings
from compiler.shard import Progress, Summary, compile_shard
from envs.blobs import BlobStore

SHARD = 64
"""Candidates that one process is handed at a time."""


def compile_dataset(
    recipe: Recipe,
    candidates: Iterable[Candidate],
    blobs: BlobStore,
    datasets: Path,
    name: str,
    progress: Progress | None = None,
    known: Renderings | None = None,
    processes: int = 1,
    asker: Asker | None = None,
) -> Published:
    """Blocking and CPU-bound; candidates are read once, a few at a time, in any order: the bytes depend neither on
    it nor on `processes` (which need `blobs`, `known` and `asker` to be picklable).

    `known` remembers renderings between compilations; by default a file beside the datasets.
    Raises `RecipeError` (tokenizer, files) and `PublishError`. What goes wrong with one trajectory is a drop.
    """
    work = datasets / name / f".work-{uuid.uuid4().hex}"
    work.mkdir(parents=True)
    try:
        known = known or FileRenderings(datasets / ".renderings.sqlite")
        if processes == 1:
            compile_shard(recipe, candidates, blobs, work / "shard-00000", known, progress, asker)
        else:
            _in_processes(recipe, candidates, blobs, work, known, progress, processes, asker)
        return publish(recipe, sorted(work.glob("shard-*")), blobs, datasets, name, known)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _in_processes(
    recipe: Recipe,
    candidates: Iterable[Candidate],
    blobs: BlobStore,
    work: Path,
    known: Renderings,
    progress: Progress | None,
    processes: int,
    asker: Asker | None,
) -> None:
    """At most twice as many shards are in flight as there are processes."""
    read = built = 0
    waiting: list[Future[Summary]] = []
    context = multiprocessing.get_context("spawn")
    given = (recipe, blobs, known, asker)
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_begin, initargs=given) as pool:
        chunks = enumerate(_chunks(candidates))
        while True:
            for number, chunk in islice(chunks, 2 * processes - len(waiting)):
                waiting.append(pool.submit(_shard, chunk, work / f"shard-{number:05d}"))
            if not waiting:
                return
            summary = waiting.pop(0).result()
            read, built = read + summary.selected, built + summary.built
            if progress:
                progress(read, built)


def _chunks(candidates: Iterable[Candidate]) -> Iterator[list[Candidate]]:
    rest = iter(candidates)
    while chunk := list(islice(rest, SHARD)):
        yield chunk


_given: tuple[Recipe, BlobStore, Renderings, Asker | None] | None = None
"""In a worker process: what every shard is compiled with."""


def _begin(recipe: Recipe, blobs: BlobStore, known: Renderings, asker: Asker | None) -> None:
    global _given
    _given = (recipe, blobs, known, asker)


def _shard(candidates: list[Candidate], folder: Path) -> Summary:
    assert _given is not None
    recipe, blobs, known, asker = _given
    return compile_shard(recipe, candidates, blobs, folder, known, asker=asker)
