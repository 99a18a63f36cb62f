"""The files of a published version, found by its manifest alone: no path that the manifest does not name."""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

from api.problems import Problem, unknown
from api.service import Service
from rollout.runs import DatasetVersion

MANIFEST = "manifest.json"
MEDIA_TYPES = {
    ".jsonl": "application/x-ndjson",
    ".json": "application/json",
    ".parquet": "application/vnd.apache.parquet",
    ".md": "text/markdown; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}


@dataclass(frozen=True)
class PublishedFile:
    path: str
    """From the version's folder, with forward slashes."""
    at: Path
    size: int
    sha256: str

    @property
    def etag(self) -> str:
        return f'"{self.sha256}"'

    @property
    def media_type(self) -> str:
        return MEDIA_TYPES.get(PurePosixPath(self.path).suffix, "application/octet-stream")


def find_version(service: Service, name: str, version: str) -> DatasetVersion:
    """`latest` is the newest. Raises `NotFound` naming the known ones."""
    return service.store.versions(name)[0] if version == "latest" else service.store.version(name, version)


def folder_of(service: Service, version: DatasetVersion) -> Path:
    return service.settings.datasets / version.dataset / version.version


def files_of(service: Service, version: DatasetVersion) -> tuple[PublishedFile, ...]:
    """The manifest's files and the manifest itself, by path."""
    folder = folder_of(service, version)
    listed = [
        PublishedFile(path, folder / path, entry["size"], entry["sha256"])
        for path, entry in version.manifest["files"].items()
    ]
    at = folder / MANIFEST
    if not at.exists():
        raise Problem(
            404, "files-gone", f"dataset {version.dataset} {version.version}: its files are not in {folder} any more"
        )
    return tuple(sorted([*listed, PublishedFile(MANIFEST, at, at.stat().st_size, _sha256(at))], key=lambda f: f.path))


def find_file(service: Service, version: DatasetVersion, path: str) -> PublishedFile:
    """Raises `Problem` naming the files that there are."""
    files = {file.path: file for file in files_of(service, version)}
    if path not in files:
        raise unknown("file", path, files)
    return files[path]


@lru_cache(maxsize=1024)
def _sha256(at: Path) -> str:
    """Published files never change."""
    return hashlib.sha256(at.read_bytes()).hexdigest()
