"""Files that are hashed and brought to the disk while they are written."""

import hashlib
from pathlib import Path

import pytest

from compiler.formats.writer import SYNC_BYTES, HashedFile, Written


def test_a_file_is_known_without_being_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    parts = [bytes([n]) * (SYNC_BYTES // 2 + n) for n in range(5)]
    file = HashedFile(path)
    for part in parts:
        file.write(part)
    whole = b"".join(parts)
    assert file.end() == Written(path, hashlib.sha256(whole).hexdigest(), len(whole))
    assert path.read_bytes() == whole


def test_what_the_disk_refuses_while_it_is_written_is_raised() -> None:
    file = HashedFile(Path("/dev/null"))  # which cannot be synced
    file.write(bytes(SYNC_BYTES))
    with pytest.raises(OSError, match="Invalid argument"):
        file.write(bytes(SYNC_BYTES))
    file.close()
