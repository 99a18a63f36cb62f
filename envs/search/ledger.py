"""Which documents a version holds: id -> fingerprint. The version's name follows from it."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from envs.search.analysis import ANALYSIS

Ledger = Mapping[str, bytes]

Changes = dict[str, bytes | None]
"""id -> new fingerprint, None for a document that was removed."""

_SCHEMA = pa.schema([("id", pa.string()), ("fingerprint", pa.binary(16))])


def version_of(ledger: Ledger) -> str:
    """64 hex digits: sha256 over the analysis and the documents' ids and fingerprints in the order of the ids.

    The order in which documents were added, and in how many runs, makes no difference.
    """
    digest = hashlib.sha256(f"trajc corpus {ANALYSIS}\n".encode())
    for id in sorted(ledger):
        digest.update(id.encode() + b"\0" + ledger[id])
    return digest.hexdigest()


def write_changes(path: Path, changes: Mapping[str, bytes | None]) -> None:
    """Durably, and whole or not at all."""
    part = path.with_suffix(".part")
    columns = [pa.array(list(changes), pa.string()), pa.array(list(changes.values()), pa.binary(16))]
    with part.open("wb") as sink:
        with pa.ipc.new_file(sink, _SCHEMA) as writer:
            writer.write_table(pa.Table.from_arrays(columns, schema=_SCHEMA))
        sink.flush()
        os.fsync(sink.fileno())
    part.replace(path)


def read_changes(path: Path) -> Changes:
    with pa.memory_map(str(path)) as file:
        table = pa.ipc.open_file(file).read_all()
    return dict(zip(table.column(0).to_pylist(), table.column(1).to_pylist(), strict=True))


def write_ledger(path: Path, ledger: Ledger) -> None:
    write_changes(path, ledger)


def read_ledger(path: Path) -> dict[str, bytes]:
    return {id: mark for id, mark in read_changes(path).items() if mark is not None}
