"""Blobs in a folder: stored once, read back exactly, and never silently wrong."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from envs.blobs import BlobMissing, blob_of
from rollout.blobs import BlobCorrupt, FolderBlobs


@pytest.fixture
def store(tmp_path: Path) -> FolderBlobs:
    return FolderBlobs(tmp_path / "blobs")


@pytest.mark.parametrize("data", [b"", b"a document", bytes(range(256)) * 5000])
def test_what_is_put_comes_back(store: FolderBlobs, data: bytes) -> None:
    blob = store.put(data, "application/octet-stream", None)
    assert blob == blob_of(data, "application/octet-stream", None)
    assert (store.get(blob.hash), store.has(blob.hash), list(store.hashes())) == (data, True, [blob.hash])


def test_the_same_bytes_are_one_file(store: FolderBlobs) -> None:
    store.put(b"twice")
    store.put(b"twice")
    assert [path.name for path in store.root.rglob("*") if path.is_file()] == [f"{blob_of(b'twice').hash[2:]}.zst"]


@pytest.mark.parametrize("hash", ["0" * 64, "../../etc/passwd", "", "Z" * 64])
def test_what_is_not_there_is_missing_and_no_name_leaves_the_folder(store: FolderBlobs, hash: str) -> None:
    with pytest.raises(BlobMissing):
        store.get(hash)


def test_a_cut_file_is_named(store: FolderBlobs) -> None:
    blob = store.put(b"a document" * 100)
    (path,) = store.root.rglob("*.zst")
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(BlobCorrupt, match=rf"blob {blob.hash}: {path} is no whole zstd file"):
        store.get(blob.hash)


def test_a_file_with_other_bytes_is_named(store: FolderBlobs) -> None:
    one, other = store.put(b"one"), store.put(b"other")
    files = {path.parent.name + path.stem: path for path in store.root.rglob("*.zst")}
    files[one.hash].write_bytes(files[other.hash].read_bytes())
    with pytest.raises(BlobCorrupt, match=f"holds bytes with sha256 {other.hash}"):
        store.get(one.hash)


def test_a_deleted_blob_can_be_stored_again(store: FolderBlobs) -> None:
    blob = store.put(b"gone")
    store.delete(blob.hash)
    assert not store.has(blob.hash)
    with pytest.raises(BlobMissing):
        store.delete(blob.hash)
    assert store.get(store.put(b"gone").hash) == b"gone"


def test_many_processes_put_the_same_bytes_at_once(store: FolderBlobs) -> None:
    program = (
        "import sys, pathlib; from rollout.blobs import FolderBlobs; blobs = FolderBlobs(pathlib.Path(sys.argv[1]));"
        "[blobs.put(str(i).encode() * 1000) for i in range(50)]"
    )
    started = [subprocess.Popen([sys.executable, "-c", program, store.root]) for _ in range(3)]
    assert [process.wait(300) for process in started] == [0, 0, 0]
    data = [str(i).encode() * 1000 for i in range(50)]
    assert sorted(store.hashes()) == sorted(blob_of(each).hash for each in data)
    assert [store.get(blob_of(each).hash) for each in data] == data
    assert list(store.root.rglob(".put-*")) == []


def test_what_a_killed_writer_left_is_removed_once_nobody_can_be_at_it(store: FolderBlobs) -> None:
    assert store.remove_unfinished() == 0
    kept = store.put(b"kept")
    old, new = (store.root / f".put-{name}" for name in ("old", "new"))
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 100_000,) * 2)
    os.utime(store.root / kept.hash[:2] / f"{kept.hash[2:]}.zst", (0, 0))
    assert store.remove_unfinished() == 1
    assert (old.exists(), new.exists(), store.get(kept.hash)) == (False, True, b"kept")
