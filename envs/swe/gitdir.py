"""A repository with one commit and no history, written byte for byte: no git is needed on the host.

The commit's files lie in one pack in a repository of root's, which the agent can read and not change. The agent's
own `.git` borrows its objects.
"""

import hashlib
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

BASE_REPOSITORY = "/var/lib/trajc/base.git"
EXCLUDED = b"__pycache__/\n*.pyc\n.pytest_cache/\n"
ATTRIBUTES = b"* !text !eol !crlf !filter !ident !working-tree-encoding\n"
"""Files count as they lie in the tree, whatever a .gitattributes would make of them at a commit: what nobody changed is
unchanged."""
CONFIG = b"[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n"
NAMES = b"[user]\n\tname = agent\n\temail = agent@localhost\n"
PERSON = b"trajc <trajc@localhost> 946684800 +0000"
KINDS = {"commit": 1, "tree": 2, "blob": 3}


@dataclass(frozen=True)
class File:
    """Bytes (of a symbolic link: its target) and the mode as git writes it."""

    data: bytes
    mode: Literal["100644", "100755", "120000"] = "100644"


def base_repository(files: Mapping[str, File]) -> dict[str, bytes]:
    """Path below the git directory -> bytes."""
    objects = _Objects()
    ids = {path: objects.add("blob", file.data) for path, file in files.items()}
    tree = _tree(files, ids, objects)
    lines = [b"tree " + tree.hex().encode(), b"author " + PERSON, b"committer " + PERSON, b"", b"base\n"]
    commit = objects.add("commit", b"\n".join(lines)).hex().encode()
    pack, index, name = objects.packed()
    return {
        "HEAD": b"ref: refs/heads/main\n",
        "config": CONFIG,
        "refs/heads/main": commit + b"\n",
        "index": _index(files, ids),
        "info/attributes": ATTRIBUTES,
        "info/exclude": EXCLUDED,
        f"objects/pack/pack-{name}.pack": pack,
        f"objects/pack/pack-{name}.idx": index,
    }


def agent_repository(files: Mapping[str, File]) -> dict[str, bytes]:
    """The same commit for the agent to work on; its objects stay where `base_repository` has them."""
    whole = base_repository(files)
    kept = {path: data for path, data in whole.items() if not path.startswith("objects/")}
    return {**kept, "config": CONFIG + NAMES, "objects/info/alternates": f"{BASE_REPOSITORY}/objects\n".encode()}


class _Objects:
    def __init__(self) -> None:
        self._entries: dict[bytes, tuple[int, bytes]] = {}

    def add(self, kind: str, data: bytes) -> bytes:
        """The object's id, 20 bytes."""
        name = hashlib.sha1(f"{kind} {len(data)}\0".encode() + data, usedforsecurity=False).digest()
        self._entries[name] = KINDS[kind], data
        return name

    def packed(self) -> tuple[bytes, bytes, str]:
        """A version 2 pack, its version 2 index, and the name that both carry."""
        out = bytearray(b"PACK" + struct.pack(">II", 2, len(self._entries)))
        placed: dict[bytes, tuple[int, int]] = {}
        for name, (kind, data) in self._entries.items():
            entry = _entry_head(kind, len(data)) + zlib.compress(data, 6)
            placed[name] = len(out), zlib.crc32(entry)
            out += entry
        out += hashlib.sha1(out, usedforsecurity=False).digest()
        names = sorted(placed)
        firsts = [sum(1 for n in names if n[0] <= byte) for byte in range(256)]
        index = bytearray(b"\xfftOc" + struct.pack(">I", 2) + struct.pack(">256I", *firsts))
        index += b"".join(names)
        index += b"".join(struct.pack(">I", placed[n][1]) for n in names)
        index += b"".join(struct.pack(">I", placed[n][0]) for n in names)
        index += out[-20:]
        index += hashlib.sha1(index, usedforsecurity=False).digest()
        label = hashlib.sha1(b"".join(names), usedforsecurity=False).hexdigest()
        return bytes(out), bytes(index), label


def _entry_head(kind: int, size: int) -> bytes:
    """The kind and the size, seven bits a byte after the first four."""
    byte = kind << 4 | size & 15
    size >>= 4
    head = bytearray()
    while size:
        head.append(byte | 0x80)
        byte, size = size & 0x7F, size >> 7
    head.append(byte)
    return bytes(head)


def _tree(files: Mapping[str, File], ids: Mapping[str, bytes], objects: _Objects) -> bytes:
    entries: list[tuple[bytes, bytes]] = []
    below: dict[str, dict[str, str]] = {}
    for path in files:
        name, _, rest = path.partition("/")
        if rest:
            below.setdefault(name, {})[rest] = path
        else:
            entries.append((name.encode(), files[path].mode.encode() + b" " + name.encode() + b"\0" + ids[path]))
    for name, rests in below.items():
        child = _tree(
            {rest: files[path] for rest, path in rests.items()},
            {rest: ids[path] for rest, path in rests.items()},
            objects,
        )
        # Git sorts a folder as if its name ended with a slash.
        entries.append((name.encode() + b"/", b"40000 " + name.encode() + b"\0" + child))
    return objects.add("tree", b"".join(line for _, line in sorted(entries)))


def _index(files: Mapping[str, File], ids: Mapping[str, bytes]) -> bytes:
    """A version 2 index whose times are unknown: git compares contents at the first look and fills them in."""
    out = bytearray(b"DIRC" + struct.pack(">II", 2, len(files)))
    for path in sorted(files, key=str.encode):
        name = path.encode()
        entry = struct.pack(">10I", 0, 0, 0, 0, 0, 0, int(files[path].mode, 8), 0, 0, len(files[path].data))
        entry += ids[path] + struct.pack(">H", min(len(name), 0xFFF)) + name
        out += entry + b"\0" * (8 - len(entry) % 8)
    return bytes(out) + hashlib.sha1(out, usedforsecurity=False).digest()
