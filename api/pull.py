"""Bring a dataset version here over HTTP: resumed where it stopped, checked by checksum, visible only when whole."""

import fcntl
import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from api.client import Client, ServiceError

CHUNK = 1 << 20
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""Of which a path can be made."""


class PullError(ServiceError):
    """What arrived is not what the manifest promises."""


@dataclass(frozen=True)
class Pulled:
    name: str
    version: str
    folder: Path
    files: int
    size: int
    """Bytes of all files."""
    fetched: int
    """Bytes that came over the wire this time."""


def pull(
    client: Client, name: str, version: str, out: Path | None, progress: Callable[[int, int], None] = lambda *_: None
) -> Pulled:
    """The version becomes the folder `out`.

    `version` may be `latest`; `out` defaults to `./NAME/VERSION`. `progress(done, total)` counts bytes. Raises
    `ServiceError`; `PullError` for a checksum that differs, a path that leaves the folder, or a folder of that name
    that holds something else.
    """
    for word in (name, version):
        if not _WORD.fullmatch(word):
            raise PullError(f"{word!r} names no dataset and no version: they have letters, digits, '.', '_' and '-'")
    found = client.get(f"/v1/datasets/{name}/versions/{version}")
    version = named(found, version)
    folder = (out or Path(name) / version).absolute()
    files = [(relative(entry["path"]), entry) for entry in found["files"]]
    total = sum(entry["size"] for _, entry in files)
    if folder.exists() and any(folder.iterdir()):
        if all(is_whole(folder / path, entry) for path, entry in files):
            progress(total, total)
            return Pulled(name, version, folder, len(files), total, 0)
        raise PullError(f"{folder} holds something else than {name} {version}; name another --out, or remove it")
    staging = folder.parent / f".{folder.name}.{version[:12]}.partial"
    done = fetched = 0
    with alone(staging):
        for path, entry in files:
            base = done
            fetched += fetch(
                client,
                f"/v1/datasets/{name}/versions/{version}/files/{path}",
                staging / path,
                entry,
                lambda size, base=base: progress(base + size, total),  # type: ignore[misc]
            )
            done += entry["size"]
        if folder.exists():
            folder.rmdir()
        staging.rename(folder)
    return Pulled(name, version, folder, len(files), total, fetched)


def named(found: Mapping[str, Any], wanted: str) -> str:
    """The version that was sent. It comes off the wire and becomes a folder's name: it must be its manifest's."""
    version, manifest = found["version"], [e["sha256"] for e in found["files"] if e["path"] == "manifest.json"]
    if not re.fullmatch("[0-9a-f]{40}", version) or [sha256[:40] for sha256 in manifest] != [version]:
        raise PullError(f"the service sent a version {version!r}, which is not the name of its manifest")
    if wanted not in ("latest", version):
        raise PullError(f"asked for {wanted}, the service sent {version}")
    return str(version)


@contextmanager
def alone(staging: Path) -> Iterator[None]:
    """For one process at a time: of two, one would rename what the other still writes."""
    staging.mkdir(parents=True, exist_ok=True)
    handle = os.open(staging, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not staging.exists() or os.fstat(handle).st_ino != staging.stat().st_ino:
            raise BlockingIOError
        yield
    except BlockingIOError:
        raise PullError(f"another pull writes {staging}; wait for it") from None
    finally:
        os.close(handle)


def fetch(client: Client, url: str, target: Path, entry: Mapping[str, Any], progress: Callable[[int], None]) -> int:
    """One file, from where an earlier attempt stopped. Returns the bytes that were fetched."""
    target.parent.mkdir(parents=True, exist_ok=True)
    have = target.stat().st_size if target.exists() else 0
    if have == entry["size"] and is_whole(target, entry):
        progress(have)
        return 0
    if have >= entry["size"]:
        target.unlink(missing_ok=True)
        have = 0
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": f'"{entry["sha256"]}"'}
    fetched = 0
    with client.stream(url, headers) as response:
        resumed = response.status_code == 206
        size = have if resumed else 0
        with target.open("ab" if resumed else "wb") as file:
            for chunk in response.iter_bytes(CHUNK):
                file.write(chunk)
                fetched += len(chunk)
                progress(size + fetched)
    if not is_whole(target, entry):
        target.unlink()
        raise PullError(f"{entry['path']}: its checksum is not the manifest's {entry['sha256']}; pull again")
    return fetched


def is_whole(path: Path, entry: Mapping[str, Any]) -> bool:
    if not path.is_file() or path.stat().st_size != entry["size"]:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == str(entry["sha256"])


def relative(path: str) -> PurePosixPath:
    """A manifest comes off the wire: no path of it may leave the folder."""
    parsed = PurePosixPath(path)
    if parsed.is_absolute() or not parsed.parts or ".." in parsed.parts or "\\" in path:
        raise PullError(f"the manifest names a file outside its folder: {path!r}")
    return parsed
