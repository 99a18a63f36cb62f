"""The compiler's entry: candidates in, a published dataset version out."""

import multiprocessing
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from compiler.asking import Asker
from compiler.candidate import Candidate
from compiler.publish import Published, publish
from compiler.recipe import Recipe
from compiler.renderings import FileRenderings, Renderings
from compiler.shard import Progress, Summary, compile_shard
from compiler.siblings import Siblings, gather, wants_siblings
from compiler.work import SHARD, own_folder
from envs.blobs import BlobStore


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
    it nor on `processes` (which need `blobs`, `known` and `asker` to be picklable). A recipe that asks for siblings
    reads them twice; those that can be read once only are kept on disk in between.

    `known` remembers renderings between compilations; by default a file beside the datasets.
    Raises `RecipeError` (tokenizer, files) and `PublishError`. What goes wrong with one trajectory is a drop.
    """
    with own_folder(datasets / name) as work:
        known = known or FileRenderings(renderings_file(datasets))
        siblings = None
        if wants_siblings(recipe):
            candidates = candidates if isinstance(candidates, Collection) else _Spooled(candidates, work / "candidates")
            gather(candidates, work / "siblings.sqlite")
            siblings = Siblings(work / "siblings.sqlite")
        if processes == 1:
            compile_shard(recipe, candidates, blobs, work / "shard-00000", known, progress, asker, siblings)
        else:
            _in_processes(_Given(recipe, blobs, known, asker, siblings), candidates, work, progress, processes)
        return publish(recipe, sorted(work.glob("shard-*")), blobs, datasets / name, work, known)


def renderings_file(datasets: Path) -> Path:
    """What is known of renderings, for every dataset below."""
    return datasets / ".renderings.sqlite"


class _Spooled:
    """Candidates that come once, kept in a file to be read again."""

    def __init__(self, candidates: Iterable[Candidate], at: Path):
        self._at = at
        with open(at, "wb") as out:
            out.writelines(c.model_dump_json(exclude_defaults=True).encode() + b"\n" for c in candidates)

    def __iter__(self) -> Iterator[Candidate]:
        with open(self._at, "rb") as lines:
            yield from map(Candidate.model_validate_json, lines)


class _Given(NamedTuple):
    """What every shard is compiled with."""

    recipe: Recipe
    blobs: BlobStore
    known: Renderings
    asker: Asker | None
    siblings: Siblings | None


def _in_processes(
    given: _Given, candidates: Iterable[Candidate], work: Path, progress: Progress | None, processes: int
) -> None:
    """At most twice as many shards are in flight as there are processes."""
    read = built = 0
    waiting: list[Future[Summary]] = []
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_begin, initargs=(given,)) as pool:
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


_given: _Given | None = None
"""In a worker process."""


def _begin(given: _Given) -> None:
    global _given
    _given = given


def _shard(candidates: list[Candidate], folder: Path) -> Summary:
    assert _given is not None
    recipe, blobs, known, asker, siblings = _given
    return compile_shard(recipe, candidates, blobs, folder, known, None, asker, siblings)
