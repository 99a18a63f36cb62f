"""Loading a database: a source becomes one read-only DuckDB file, a manifest, and every table as a blob.

Only tables, and the views over them, are taken: macros, sequences, secrets and views over files stay behind,
and what stays behind is listed in the manifest.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb

from envs.blobs import Blob, BlobStore
from envs.environment import Site
from envs.errors import EnvironmentFailure, TaskError
from envs.frozen import content_hash
from envs.sql.catalog import NAME, Database, find_database, folder
from envs.sql.ddl import quoted
from envs.sql.guard import Guard
from envs.sql.manifest import Column, LeftOut, Manifest, Table, View
from envs.sql.refusal import Refused
from envs.sql.settings import parse_settings
from envs.sql.sources import Found, Keys, copy_source
from envs.sql.values import converter, printed, table_head, table_lines
from envs.sql.world import TABLE_MEDIA_TYPE

BATCH = 2048
LOCKED_WITHIN = 60
"""Seconds in which a loader has locked what it began."""


def load_database(source: Path, name: str, site: Site) -> Database:
    """Load a DuckDB file, an SQLite file, or a folder of Parquet, CSV and JSON files (one table each).

    The version is a hash of the contents: loading the same again changes nothing. Raises `TaskError` where the
    source cannot be read or the name cannot be one, `EnvironmentFailure` where the database cannot be written.
    """
    if not NAME.fullmatch(name):
        raise TaskError(f"{name!r} cannot name a database: letters, digits, '_', '-' and '.', at most 128")
    if not source.exists():
        raise TaskError(f"no database to load at {source}")
    home = folder(site) / name
    home.mkdir(parents=True, exist_ok=True)
    _sweep(home)
    with tempfile.TemporaryDirectory(dir=home, prefix=".loading-") as scratch, (Path(scratch) / "lock").open("w") as at:
        fcntl.flock(at, fcntl.LOCK_EX)
        file = Path(scratch) / "new.duckdb"
        try:
            connection = duckdb.connect(str(file))
            try:
                connection.execute("SET TimeZone = 'UTC'")  # as the workers': a moment is told alike everywhere
                found = _copied(connection, source)
                manifest = _described(connection, name, found, site)
            finally:
                connection.close()
        except duckdb.Error as e:
            raise EnvironmentFailure(f"the database {name} cannot be written in {home}: {e}") from e
        file.chmod(0o444)
        os.replace(file, home / f"{manifest.version}.duckdb")
        _write(home / f"{manifest.version}.json", manifest.model_dump_json(indent=1))
        _write(home / "newest", manifest.version + "\n")
    return find_database(site, name, manifest.version)


def _sweep(home: Path) -> None:
    """Remove what killed loaders left: a lock ends with the process that holds it."""
    for path in home.glob(".loading-*/lock"):
        with contextlib.suppress(OSError), path.open("rb") as lock:
            if time.time() - path.stat().st_mtime > LOCKED_WITHIN:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path.parent, ignore_errors=True)


def _copied(connection: Any, source: Path) -> Found:
    try:
        found = copy_source(connection, source)
    except (duckdb.Error, OSError, UnicodeError) as e:
        raise TaskError(f"cannot load {source}: {e}") from e
    if not found.tables:
        why = "; ".join(f"{item.name}: {item.why}" for item in found.left_out)
        raise TaskError(f"nothing to load in {source}: no table" + (f" ({why})" if why else ""))
    return found


def _described(connection: Any, name: str, found: Found, site: Site) -> Manifest:
    keep = parse_settings(site.settings).table_bytes
    tables, hashes = [], []
    for table in sorted(found.tables):
        described, digest = _table(connection, table, found.keys.get(table, Keys()), site.blobs, keep)
        tables.append(described)
        hashes.append(digest)
    views, left_out = _views(connection, name, tuple(tables), found)
    version = content_hash(
        [
            [
                (t.name, t.columns, t.primary_key, t.foreign_keys, digest)
                for t, digest in zip(tables, hashes, strict=True)
            ],
            views,
        ]
    )
    return Manifest(
        database=name, version=version, tables=tuple(tables), views=views, left_out=(*found.left_out, *left_out)
    )


def _table(connection: Any, name: str, keys: Keys, blobs: BlobStore, keep: int) -> tuple[Table, str]:
    columns = columns_of(connection, name, keys.not_null)
    digest, size, rows, kept = hashlib.sha256(), 0, 0, bytearray()
    for chunk, count in table_text(connection, name, columns):
        digest.update(chunk)
        size += len(chunk)
        rows += count
        if size <= keep:
            kept += chunk
    blob: Blob | None = blobs.put(bytes(kept), TABLE_MEDIA_TYPE, "utf-8") if size <= keep else None
    table = Table(
        name=name,
        columns=columns,
        rows=rows,
        size=size,
        blob=blob,
        primary_key=keys.primary,
        foreign_keys=keys.foreign,
    )
    return table, digest.hexdigest()


def columns_of(connection: Any, name: str, not_null: frozenset[str] = frozenset()) -> tuple[Column, ...]:
    described = connection.execute(f"DESCRIBE {quoted(name)}").fetchall()
    return tuple(Column(name=row[0], type=row[1], nullable=row[0] not in not_null) for row in described)


def table_text(connection: Any, name: str, columns: tuple[Column, ...]) -> Iterator[tuple[bytes, int]]:
    """The table's text piece by piece, each with the number of rows in it."""
    yield table_head(columns), 0
    convert = converter([c.type for c in columns])
    query = f"SELECT * FROM {quoted(name)}"
    cursor = connection.execute(printed([c.type for c in columns], query) or query)
    while rows := cursor.fetchmany(BATCH):
        yield table_lines(convert(row) for row in rows), len(rows)


def _views(
    connection: Any, name: str, tables: tuple[Table, ...], found: Found
) -> tuple[tuple[View, ...], list[LeftOut]]:
    """Those views that read nothing but tables and views already here, under the same guard as an agent."""
    views: list[View] = []
    waiting, faults = list(found.views), dict[str, str]()
    while waiting:
        still = []
        for view, sql in waiting:
            known = Manifest(database=name, version="", tables=tables, views=tuple(views))
            try:
                checked = Guard(known).check(sql)
                connection.execute(f"CREATE VIEW {quoted(view)} AS {checked.sql}")
                views.append(View(name=view, columns=columns_of(connection, view), sql=checked.sql))
            except (Refused, duckdb.Error) as e:
                still.append((view, sql))
                faults[view] = str(e)
        if len(still) == len(waiting):
            break
        # A view may stand before one that it reads: those that were left get another turn.
        waiting = still
    return tuple(views), [LeftOut(name=view, why=f"view: {faults[view]}") for view, _ in waiting]


def _write(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text)
    os.replace(partial, path)
