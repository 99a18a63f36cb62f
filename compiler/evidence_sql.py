"""SQL: the full contents of the tables that successful queries read; no distractors unless asked."""

from collections import Counter

import orjson
import sqlglot
from sqlglot import exp

from compiler.candidate import Candidate
from compiler.drops import Dropped, PieceReason
from compiler.evidence import Found, Material, met, parsed, submitted
from compiler.recipe import Recipe
from compiler.transforms import table, table_columns
from envs.blobs import Blob, BlobMissing, BlobStore
from envs.evidence import Evidence
from envs.frozen import canonical_json
from envs.sql.world import SqlReference, SqlWorld


def sql_material(candidate: Candidate, recipe: Recipe, blobs: BlobStore) -> Material:
    trajectory = candidate.trajectory
    world = parsed(SqlWorld, trajectory.task.world, "task.world")
    reference = parsed(SqlReference, candidate.reference.data, "reference") if candidate.reference else None
    licence = trajectory.task.licence or ""
    left_out: Counter[PieceReason] = Counter()
    read: dict[str, Blob] = {}
    known = {blob.hash for blob in world.tables.values()}
    for step, piece in met(trajectory, left_out):
        if piece.kind != "table":
            left_out["listing"] += 1
        elif piece.blob is None:
            raise Dropped("evidence_missing", f"table {piece.source}: its contents were not kept (too large)")
        elif known and step.result.final and piece.blob.hash not in known:
            left_out["answer_echo"] += 1
        elif piece.how == "opened":
            read.setdefault(piece.source, piece.blob)
    if not read:
        raise Dropped("no_evidence", "no successful query read a table")
    answer = _rows(candidate, reference, recipe)

    def sibling(piece: Evidence, tier: int) -> Found | None:
        """The table as it is in this task's own database."""
        name = piece.source
        return _found(name, world.tables[name], world, licence, tier) if name in world.tables.keys() - read else None

    near = _near(world, read, blobs) if recipe.sql.distractors == "near" else []
    return Material(
        needed=tuple(_found(name, blob, world, licence, 0) for name, blob in read.items()),
        distractors=tuple(_found(name, world.tables[name], world, licence, 4) for name in near),
        answer=answer,
        answer_kind="rows",
        group=trajectory.task.group or world.database,
        sibling=sibling,
        labels={"answerable": _answerable(trajectory.task.dialect, reference, world, frozenset(read))},
        left_out=left_out,
    )


def _rows(candidate: Candidate, reference: SqlReference | None, recipe: Recipe) -> str:
    """Canonical JSON of the right rows: the gold query's where they are known, else what was handed in."""
    submission = candidate.trajectory.submission
    if reference is not None and reference.rows is not None:
        rows: list[object] = [list(row) for row in reference.rows]
    elif submission is not None and submission.kind == "rows":
        rows = [list(row) for row in submission.rows]
    else:
        try:
            rows = list(orjson.loads(submitted(candidate)))
        except (orjson.JSONDecodeError, TypeError):
            raise Dropped("no_answer", "the submission's text is no JSON array of rows") from None
    if not recipe.sql.min_rows <= len(rows) <= recipe.sql.max_rows:
        words = f"the answer has {len(rows)} rows; the recipe takes {recipe.sql.min_rows} to {recipe.sql.max_rows}"
        raise Dropped("answer_rows", words)
    return canonical_json(rows).decode()


def _answerable(dialect: str | None, reference: SqlReference | None, world: SqlWorld, read: frozenset[str]) -> str:
    """The tables of the gold query must be there, where it can be read."""
    gold = reference and _tables(reference.gold_sql, dialect)
    names = {name.lower() for name in world.tables}
    if not gold or (names and not gold <= names):
        return "unknown"
    missing = sorted(gold - {name.lower().split(".")[-1] for name in read})
    if missing:
        raise Dropped("not_answerable", f"tables of the gold query that were never read: {', '.join(missing)}")
    return "gold tables present"


def _tables(sql: str, dialect: str | None) -> frozenset[str] | None:
    for name in dict.fromkeys((dialect or "duckdb", "duckdb", "mysql")):
        try:
            tree = sqlglot.parse_one(sql, dialect=name)
        except (sqlglot.errors.SqlglotError, ValueError):
            continue
        local = {cte.alias.lower() for cte in tree.find_all(exp.CTE)}
        return frozenset(t.name.lower() for t in tree.find_all(exp.Table)) - local
    return None


def _near(world: SqlWorld, read: dict[str, Blob], blobs: BlobStore) -> list[str]:
    """The database's other tables, those that share most column names with the needed ones first."""

    def columns(blob: Blob) -> set[str]:
        try:
            header = blobs.get(blob.hash).partition(b"\n")[0]
        except BlobMissing:
            return set()
        return {name.lower() for name, _ in table_columns(header.decode("utf-8", "replace"))}

    mine = set().union(*(columns(blob) for blob in read.values()))
    others = {name: len(mine & columns(blob)) for name, blob in world.tables.items() if name not in read}
    return sorted(others, key=lambda name: (-others[name], name))


def _found(name: str, blob: Blob, world: SqlWorld, licence: str, tier: int) -> Found:
    return Found(
        kind="table",
        source=name,
        version=world.version or "",
        title=name,
        blob=blob.hash,
        encoding="utf-8",
        step=table(name),
        licence=licence,
        tier=tier,
    )
