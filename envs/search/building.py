"""The next version of a corpus while it is made: an index, and after each commit a note of what it took in.

A note (a ledger part) is written before its commit, so that after a cut the last one may speak of a commit
that never happened; the index itself tells.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import tantivy

from envs.errors import EnvironmentFailure
from envs.search.analysis import ANALYSIS, new_analyzer
from envs.search.corpus import Corpus, entry, new_schema
from envs.search.document import Document, fingerprint, packed
from envs.search.ledger import Changes, Ledger, read_changes, write_changes

_HEAP_BYTES = 256_000_000
_FROM_NOTHING = f"{ANALYSIS} -"


class Building:
    """`indexed`: what the index holds now, id -> fingerprint. `resumed`: ids that a cut-off run had taken in.
    `replaced`: how many documents were dropped from it or put anew, by a cut-off run too. `from_nothing`: not from
    another version's index."""

    def __init__(self, path: Path, base: Ledger) -> None:
        self._path = path
        self._parts = path / "parts"
        self._batch: Changes = {}
        self.indexed = dict(base)
        self.resumed: set[str] = set()
        self.replaced = 0
        self.from_nothing = not base
        for changes in _committed(path):
            for id, mark in changes.items():
                self.replaced += id in self.indexed
                if mark is None:
                    self.indexed.pop(id, None)
                else:
                    self.indexed[id] = mark
                    self.resumed.add(id)

    @property
    def index(self) -> Path:
        return self._path / "index"

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Within it documents can be put and removed; what was not committed is dropped if it fails. Raises
        `EnvironmentFailure` where the disk takes no more."""
        with self._reaching_disk():
            index = tantivy.Index(new_schema(), str(self.index))
            index.register_tokenizer(ANALYSIS, new_analyzer())
            self._writer = index.writer(_HEAP_BYTES)
        try:
            yield
            self.commit()
        finally:
            with self._reaching_disk():
                self._writer.wait_merging_threads()  # also gives up the writer's lock

    @contextmanager
    def _reaching_disk(self) -> Iterator[None]:
        try:
            yield
        except ValueError as e:  # what the engine calls an error of the disk
            raise self._unwritable(e) from e

    def _unwritable(self, error: ValueError) -> EnvironmentFailure:
        return EnvironmentFailure(
            f"the index in {self._path} cannot be written: {error}; once it can, the same command goes on from there"
        )

    def put(self, document: Document, pack: bytes, mark: bytes) -> None:
        try:  # entering `_reaching_disk` a million times is felt
            if document.id in self.indexed:
                self._writer.delete_documents_by_term("id", document.id)
                self.replaced += 1
            self._writer.add_document(entry(document, pack))
        except ValueError as e:
            raise self._unwritable(e) from e
        self.indexed[document.id] = self._batch[document.id] = mark

    def remove(self, id: str) -> None:
        with self._reaching_disk():
            self._writer.delete_documents_by_term("id", id)
        del self.indexed[id]
        self.replaced += 1
        self._batch[id] = None

    def commit(self) -> None:
        if self._batch:
            write_changes(self._parts / f"{len(list(self._parts.iterdir())):06d}.arrow", self._batch)
            with self._reaching_disk():
                self._writer.commit()
            self._batch = {}

    def discard(self) -> None:
        (self._path / "started_from").unlink()  # first: what a cut leaves of the rest is nothing to go on from
        shutil.rmtree(self._path)


def begin(path: Path, base: Ledger, base_index: Path | None) -> Building:
    """Take up what a cut-off run left at `path` if it started from the same version, or from none because too much
    had changed; start anew if not."""
    mark = path / "started_from"
    if mark.exists() and mark.read_text() == _FROM_NOTHING:
        base, base_index = {}, None
    started_from = f"{ANALYSIS} {base_index.parent.name}" if base_index else _FROM_NOTHING
    if not mark.exists() or mark.read_text() != started_from:
        shutil.rmtree(path, ignore_errors=True)
        (path / "parts").mkdir(parents=True)
        (path / "index").mkdir()
        if base_index:
            _link(base_index, path / "index")
        mark.write_text(started_from)
    return Building(path, base)


def _link(source: Path, target: Path) -> None:
    """The same index in another folder. Its segments never change in place; what does is copied."""
    for file in source.iterdir():
        if file.suffix in (".json", ".lock"):
            if file.suffix == ".json":
                shutil.copy2(file, target / file.name)
            continue
        try:
            os.link(file, target / file.name)
        except OSError:  # another file system, or one without hard links
            shutil.copy2(file, target / file.name)


def _committed(path: Path) -> list[Changes]:
    parts = sorted((path / "parts").glob("*.arrow"))
    changes = [read_changes(part) for part in parts]
    if changes and not _took_place(changes[-1], path / "index"):
        parts[-1].unlink()
        changes.pop()
    return changes


def _took_place(changes: Changes, index: Path) -> bool:
    """Commits are whole or not at all, so one document of it speaks for all."""
    if not tantivy.Index.exists(str(index)):
        return False
    id, mark = next(iter(changes.items()))
    found = Corpus("", "", index).document_by_id(id)
    return (fingerprint(packed(found)) if found else None) == mark
