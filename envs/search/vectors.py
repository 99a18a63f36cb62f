"""Embeddings of a corpus's documents: made once for each document and model, kept beside the versions.

    corpora/NAME/vectors/KEY/NNNNNN.arrow     fingerprint, vector (float16, length 1); KEY names the model
    corpora/NAME/vectors/KEY/lock             held by the one process that adds to them

Vectors belong to fingerprints, so that versions share them and an embedding run that was cut off, or a corpus that
grew, costs only what is new.
"""

import asyncio
import fcntl
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from envs.environment import Site
from envs.errors import EnvironmentFailure, boundary
from envs.search.corpus import Corpus
from envs.search.document import CorpusError
from envs.search.endpoint import Endpoint, EndpointSettings
from envs.search.ledger import Ledger, read_ledger
from envs.search.library import Library, corpus_folder, version_folder, write_whole

Matrix = np.ndarray[Any, np.dtype[np.float32]]

_BATCH = 32
_AT_ONCE = 8
MAX_CHARACTERS = 8000
"""Of a document's title and text, or of a query: what the common embedding models take in."""


@dataclass(frozen=True)
class Nearest:
    """Every document of one version by its direction; answers by brute force, exactly."""

    ids: tuple[str, ...]
    matrix: Matrix
    """One row of length 1 a document, in the order of `ids`."""

    def search(self, vector: list[float], top_k: int) -> list[tuple[str, float]]:
        """(id, cosine), the best first, equals in the order of their ids."""
        if not self.ids:
            return []
        asked = _directions([vector])[0]
        if asked.shape[0] != self.matrix.shape[1]:
            raise EnvironmentFailure(f"the model gives {len(vector)} numbers; the corpus has {self.matrix.shape[1]}")
        scores = self.matrix @ asked
        best = np.argpartition(-scores, min(top_k, len(self.ids)) - 1)[:top_k]
        return sorted(((self.ids[n], round(float(scores[n]), 4)) for n in best), key=lambda x: (-x[1], x[0]))


@dataclass(frozen=True)
class Embedded:
    """What a run of `embed_corpus` took: documents of the version = embedded + there before."""

    version: str
    embedded: int
    before: int


async def embed_corpus(
    name: str,
    site: Site,
    settings: EndpointSettings,
    *,
    version: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Embedded:
    """Embed what of the version (None: the newest) has no embedding yet. A run that was cut off loses at most the
    256 documents that it was at.

    `progress` is called with (documents that have one, documents). Raises `CorpusError` for an unknown corpus, or
    one that another process is embedding, and `EnvironmentFailure` where the endpoint fails.
    """
    corpus = Library(site).open(name, version)
    folder = _folder(site, name, settings.model)
    folder.mkdir(parents=True, exist_ok=True)
    with _only_one(folder, name):
        known = {mark for table in _tables(folder) for mark in table.column("fingerprint").to_pylist()}
        ledger = _ledger(site, corpus)
        missing = [(id, mark) for id, mark in ledger.items() if mark not in known]
        done = before = len(ledger) - len(missing)
        if progress:
            progress(done, len(ledger))
        async with Endpoint(settings) as endpoint:
            for start in range(0, len(missing), _BATCH * _AT_ONCE):
                wave = missing[start : start + _BATCH * _AT_ONCE]
                vectors = await _embed(endpoint, [_text(corpus, id) for id, _ in wave])
                await asyncio.to_thread(_write, folder, [mark for _, mark in wave], vectors)
                done += len(wave)
                if progress:
                    progress(done, len(ledger))
    return Embedded(corpus.version, len(missing), before)


@contextmanager
def _only_one(folder: Path, name: str) -> Iterator[None]:
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CorpusError(f"corpus {name!r} is being embedded by another process; wait for it to end") from None
        yield


def nearest(site: Site, corpus: Corpus, model: str) -> Nearest:
    """Raises `CorpusError` where documents of this version have no embedding by this model."""
    ledger = _ledger(site, corpus)
    ids = tuple(sorted(ledger))
    places = {ledger[id]: n for n, id in enumerate(ids)}
    matrix: Matrix = np.empty((0, 0), np.float32)
    lacking = set(places)
    for marks, part in _parts(_folder(site, corpus.name, model)):
        if not matrix.size:
            matrix = np.zeros((len(ids), part.shape[1]), np.float32)
        rows = [n for n, mark in enumerate(marks) if mark in lacking]
        matrix[[places[marks[n]] for n in rows]] = part[rows]
        lacking.difference_update(marks)
    if lacking:
        raise CorpusError(
            f"{len(lacking)} of {len(ledger)} documents of corpus {corpus.name!r} have no embedding by {model!r}: "
            f"`trajc tasks embed {corpus.name}` makes them"
        )
    return Nearest(ids, matrix)


async def _embed(endpoint: Endpoint, texts: list[str]) -> Matrix:
    batches = [texts[n : n + _BATCH] for n in range(0, len(texts), _BATCH)]
    with boundary(EnvironmentFailure, "the embeddings endpoint"):
        answers = await asyncio.gather(*(endpoint.embed(batch) for batch in batches))
    return _directions([vector for answer in answers for vector in answer])


def _directions(vectors: list[list[float]]) -> Matrix:
    width = len(vectors[0])
    with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused as such
        matrix = np.asarray(vectors if all(len(v) == width for v in vectors) else [], np.float32)
    if matrix.ndim != 2 or not matrix.size or not np.isfinite(matrix).all():
        raise EnvironmentFailure("the embeddings are not vectors of finite numbers, all of one length")
    lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    return (matrix / np.where(lengths == 0, 1, lengths)).astype(np.float32)


def _text(corpus: Corpus, id: str) -> str:
    document = corpus.document_by_id(id)
    return f"{document.title}\n{document.text}"[:MAX_CHARACTERS] if document else ""


def _ledger(site: Site, corpus: Corpus) -> Ledger:
    return read_ledger(version_folder(corpus_folder(site.root, corpus.name), corpus.version) / "ledger.arrow")


def _folder(site: Site, name: str, model: str) -> Path:
    return corpus_folder(site.root, name) / "vectors" / hashlib.sha256(model.encode()).hexdigest()[:16]


def _write(folder: Path, marks: list[bytes], vectors: Matrix) -> None:
    """As the next part. Raises `EnvironmentFailure` for vectors of another length than those before."""
    parts = sorted(folder.glob("*.arrow"))
    if parts and (width := _width(_table(parts[-1]))) != vectors.shape[1]:
        raise EnvironmentFailure(
            f"the model now gives {vectors.shape[1]} numbers where it gave {width}: delete {folder}, embed again"
        )
    flat = pa.array(vectors.astype(np.float16).ravel())
    columns = {
        "fingerprint": pa.array(marks, pa.binary(16)),
        "vector": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
    }
    sink = pa.BufferOutputStream()
    table = pa.table(columns)
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    number = int(parts[-1].stem) + 1 if parts else 0
    write_whole(folder / f"{number:06d}.arrow", sink.getvalue().to_pybytes())


def _parts(folder: Path) -> Iterator[tuple[list[bytes], Matrix]]:
    for table in _tables(folder):
        vectors = table.column("vector").chunk(0)
        flat = vectors.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
        yield table.column("fingerprint").to_pylist(), flat.reshape(len(vectors), -1)


def _tables(folder: Path) -> Iterator[pa.Table]:
    yield from map(_table, sorted(folder.glob("*.arrow")))


def _table(path: Path) -> pa.Table:
    with pa.memory_map(str(path)) as file:
        return pa.ipc.open_file(file).read_all().combine_chunks()


def _width(table: pa.Table) -> int:
    return int(table.schema.field("vector").type.list_size)
