"""Making a version of a corpus: from a source and the version before it, at the cost of what changed.

The next version is built in `building/`, which starts as hard links to the newest version's index, and is
renamed into place when it is whole: readers never see half of one. Progress is committed every so often; a run
that was cut off is taken up at its last commit by the next one.
"""

import fcntl
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from envs.environment import Site
from envs.frozen import canonical_json
from envs.search.analysis import ANALYSIS
from envs.search.building import Building, begin
from envs.search.document import CorpusError, fingerprint, packed
from envs.search.ledger import Ledger, read_ledger, version_of, write_ledger
from envs.search.library import Manifest, corpus_folder, latest_version, read_manifest, version_folder, write_whole
from envs.search.sources import Source, open_source

Progress = Callable[[int, int], None]
"""Called with (documents done, documents in the source), every `REPORT_EVERY` documents and at the end."""

COMMIT_BYTES = 256_000_000
REPORT_EVERY = 1000
MOST_STALE = 0.1
"""Share of replaced and removed documents beyond which the index is made anew: the engine cannot forget them."""


@dataclass(frozen=True)
class Indexed:
    """The version that now stands, and what its making took: documents = added + changed + unchanged."""

    manifest: Manifest
    added: int
    changed: int
    unchanged: int
    removed: int
    resumed: int
    """Of added and changed: taken over from a run that was cut off."""
    left_out: tuple[Path, ...] = ()
    """Files of the source that nothing was read from."""


def index_corpus(
    source: Path,
    name: str,
    site: Site,
    *,
    columns: Mapping[str, str] | None = None,
    licence: str | None = None,
    progress: Progress | None = None,
    commit_bytes: int = COMMIT_BYTES,
) -> Indexed:
    """Make the corpus NAME hold exactly the source's documents.

    `columns`: field -> column where the source names it differently; `licence`: of documents that name none;
    `commit_bytes`: of text between two commits, which is the most that a cut-off run loses.
    Memory: about 400 bytes a document beside the engine's 256 MB. Raises `CorpusError` naming file, line and
    field of what is wrong; nothing is published then.
    """
    opened = open_source(source, columns)
    folder = corpus_folder(site.root, name)
    folder.mkdir(parents=True, exist_ok=True)
    with _only_one(folder, name):
        before = _before(folder)
        base = read_ledger(before / "ledger.arrow") if before else {}
        building = begin(folder / "building", base, before / "index" if before else None)
        now, texts = _fill(building, opened, licence, progress, commit_bytes)
        done = _account(base, now, building.resumed)
        inherited = read_manifest(before).stale if before and not building.from_nothing else 0
        stale = inherited + building.replaced
        if stale > MOST_STALE * len(now):
            building.discard()
            building, stale = begin(folder / "building", {}, None), 0
            now, texts = _fill(building, opened, licence, progress, commit_bytes)
        manifest = Manifest(
            name=name,
            version=version_of(now),
            documents=len(now),
            bytes=texts,
            source=str(source.resolve()),
            analysis=ANALYSIS,
            stale=stale,
        )
        return Indexed(manifest=_publish(folder, building, manifest, now), left_out=opened.left_out, **done)


def _before(folder: Path) -> Path | None:
    """The newest version, where its index can be gone on from."""
    latest = latest_version(folder)
    before = version_folder(folder, latest) if latest else None
    return before if before and read_manifest(before).analysis == ANALYSIS else None


@contextmanager
def _only_one(folder: Path, name: str) -> Iterator[None]:
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CorpusError(f"corpus {name!r} is being indexed by another process; wait for it to end") from None
        yield


def _fill(
    building: Building, source: Source, licence: str | None, progress: Progress | None, commit_bytes: int
) -> tuple[Ledger, int]:
    """Bring the index to the source's state. Returns its ledger and the bytes of all texts."""
    total = source.count() if progress else 0
    texts = pending = 0
    now: dict[str, bytes] = {}
    with building.writing():
        for place, document in source.read():
            if document.id in now:
                raise _duplicate(document.id, place, source)
            if licence and not document.licence:
                document = document._replace(licence=licence)
            pack = packed(document)
            mark = now[document.id] = fingerprint(pack)
            size = len(document.text) if document.text.isascii() else len(document.text.encode())
            texts += size
            if building.indexed.get(document.id) != mark:
                building.put(document, pack, mark)
                pending += size
            if pending >= commit_bytes:
                building.commit()
                pending = 0
            if progress and len(now) % REPORT_EVERY == 0:
                progress(len(now), total)
        for id in sorted(building.indexed.keys() - now.keys()):
            building.remove(id)
    if progress:
        progress(len(now), total)
    return now, texts


def _duplicate(id: str, place: int, source: Source) -> CorpusError:
    first = next(p for p, document in source.read() if document.id == id)
    return CorpusError(
        f"two documents have the id {id!r}: {source.place(first)} and {source.place(place)}; ids must be unique"
    )


def _publish(folder: Path, building: Building, manifest: Manifest, now: Ledger) -> Manifest:
    """From here on the version is there for readers. One that was there before is left as it is."""
    target = version_folder(folder, manifest.version)
    if not target.exists():
        making = building.index.parent
        write_ledger(making / "ledger.arrow", now)
        write_whole(making / "manifest.json", canonical_json(manifest))
        target.parent.mkdir(exist_ok=True)
        making.rename(target)
        # Only now: without its notes, a run that was cut off here could not tell what the index holds.
        shutil.rmtree(target / "parts")
        (target / "started_from").unlink()
    else:
        building.discard()
    write_whole(folder / "latest", manifest.version.encode())
    return read_manifest(target)


def _account(base: Ledger, now: Ledger, resumed: set[str]) -> dict[str, int]:
    unchanged = sum(1 for id, mark in now.items() if base.get(id) == mark)
    added = len(now.keys() - base.keys())
    return {
        "added": added,
        "changed": len(now) - added - unchanged,
        "unchanged": unchanged,
        "removed": len(base.keys() - now.keys()),
        "resumed": sum(1 for id in resumed & now.keys() if base.get(id) != now[id]),
    }
