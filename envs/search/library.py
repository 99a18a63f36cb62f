"""The corpora of a site on disk.

    corpora/NAME/latest                 the newest version, as text
    corpora/NAME/versions/VERSION/      manifest.json, ledger.arrow, index/ (tantivy); never changed once there
    corpora/NAME/building/              the next version while it is made

Versions share the unchanged files of their indexes by hard links, so that an old one costs what differs.
"""

import os
import re
import threading
from collections import OrderedDict
from pathlib import Path

import orjson

from envs.environment import Site
from envs.frozen import Frozen
from envs.search.corpus import Corpus
from envs.search.document import CorpusError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
LIVE_WEB = "web"
"""In place of a corpus's name: a search API and pages fetched as they are asked for."""

_OPEN_AT_ONCE = 16


class Manifest(Frozen):
    """What one version of a corpus is."""

    name: str
    version: str
    documents: int
    bytes: int
    """Of the documents' texts as UTF-8, titles not counted."""
    source: str
    """File or folder that it was last read from."""
    analysis: str
    """How text became index terms (`envs.search.analysis`)."""
    stale: int = 0
    """Documents replaced or removed since the index was last made whole. Their words still count a little in the
    scores of the others, so that an index of the same version made elsewhere may rank differently; 0: it does not."""


def corpus_folder(root: Path, name: str) -> Path:
    if name == LIVE_WEB:
        raise CorpusError(f"the name {LIVE_WEB!r} stands for the live web and cannot be a corpus's")
    if not _NAME.fullmatch(name):
        raise CorpusError(f"{name[:80]!r} cannot name a corpus: letters, digits, '.', '_' and '-', at most 128")
    return root / "corpora" / name


def latest_version(folder: Path) -> str | None:
    """None where there is none, or where somebody removed it."""
    try:
        version = (folder / "latest").read_text().strip()
    except FileNotFoundError:
        return None
    return version if version and version_folder(folder, version).is_dir() else None


def version_folder(folder: Path, version: str) -> Path:
    return folder / "versions" / version


def read_manifest(folder: Path) -> Manifest:
    return Manifest.model_validate(orjson.loads((folder / "manifest.json").read_bytes()))


def write_whole(path: Path, data: bytes) -> None:
    """Durably, and seen by readers whole or not at all."""
    part = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.part")
    with part.open("wb") as sink:
        sink.write(data)
        sink.flush()
        os.fsync(sink.fileno())
    part.replace(path)


def corpora(site: Site) -> tuple[Manifest, ...]:
    """The newest version of every corpus, by name."""
    folders = sorted(p for p in (site.root / "corpora").glob("*") if p.is_dir())
    newest = ((f, latest_version(f)) for f in folders)
    return tuple(read_manifest(version_folder(folder, version)) for folder, version in newest if version)


def manifest(site: Site, name: str, version: str | None = None) -> Manifest:
    """Of that version, or of the newest. Raises `CorpusError` naming the known corpora or versions."""
    folder = corpus_folder(site.root, name)
    wanted = version or latest_version(folder)
    if wanted is None:
        known = ", ".join(m.name for m in corpora(site)) or "none yet"
        words = f"unknown corpus {name!r}; known: {known}. `trajc tasks index {name} SOURCE` makes it"
        raise CorpusError(words, field="world.corpus")
    if not re.fullmatch(r"[0-9a-f]{64}", wanted) or not (found := version_folder(folder, wanted)).is_dir():
        known = ", ".join(sorted(p.name for p in (folder / "versions").glob("*"))) or "none"
        words = f"corpus {name!r} has no version {wanted[:80]!r} here; known: {known}"
        raise CorpusError(words, field="world.version")
    return read_manifest(found)


class Library:
    """Open corpora of one process, the least recently used closed beyond a bound. Safe for threads."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._open: OrderedDict[tuple[str, str], Corpus] = OrderedDict()
        self._lock = threading.Lock()

    def open(self, name: str, version: str | None = None) -> Corpus:
        """Raises `CorpusError` as `manifest` does."""
        if version is not None and (found := self._open.get((name, version))) is not None:
            return found
        known = manifest(self._site, name, version)
        key = (name, known.version)
        with self._lock:
            if key not in self._open:
                folder = version_folder(corpus_folder(self._site.root, name), known.version)
                self._open[key] = _opened(name, known.version, folder / "index")
            self._open.move_to_end(key)
            while len(self._open) > _OPEN_AT_ONCE:
                self._open.popitem(last=False)
            return self._open[key]

    def close(self) -> None:
        with self._lock:
            self._open.clear()


def _opened(name: str, version: str, index: Path) -> Corpus:
    try:
        return Corpus(name, version, index)
    except ValueError as e:  # what the engine raises for a damaged index, or one of another release's format
        raise CorpusError(
            f"the index of corpus {name!r} cannot be opened: {e}; delete {index.parent}, index again"
        ) from e
