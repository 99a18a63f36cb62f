"""The connection to the database: how it is opened, how a transaction reads or writes, who is told of changes.

SQLite (WAL) and PostgreSQL behave alike above this file: a writing transaction on SQLite takes the write lock at
its start, so that no transaction fails half way through for want of it.
"""

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import sqlalchemy as sa

from rollout.ids import Ids
from rollout.schema import events

_EMIT = sa.text(
    # One round trip. No row is made, and so no number drawn, before the lock is held.
    "with held as materialized (select pg_advisory_xact_lock(:lock)) "
    "insert into events (kind, run_id, job_id, data, at) "
    "select r.kind, r.run_id, r.job_id, r.data, r.at from held, "
    "json_to_recordset(cast(:rows as json)) as r(kind text, run_id text, job_id text, data json, at double precision)"
)
MakeId = Callable[[str], str]
_IDLE_SECONDS = 5.0
_CLOCK_SECONDS = 5.0
PATIENCE = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 30_000,  # milliseconds; the others are seconds
}
"""Of PostgreSQL connections, where the URL does not say otherwise. A server that went away without a word (its machine
failed, another took over) is noticed within a lease's time; systems by themselves wait for a quarter of an hour, and
with them every worker that has a statement on its way."""
EVENT_LOCK = 0x7472616A63  # any number that is ours: "trajc"


def keepable(text: str) -> str:
    """No NUL, which PostgreSQL keeps in no text, and no bytes of a file's name that are no text, which nobody keeps."""
    return text.encode("utf-8", "replace").decode().replace("\x00", "\N{REPLACEMENT CHARACTER}")


class StepClock:
    """Notices that a wall clock was set: it and a clock that only runs forward disagree on the time gone by."""

    def __init__(self, monotonic: Callable[[], float], tolerance: float) -> None:
        self._monotonic = monotonic
        self._tolerance = tolerance
        self._offset: float | None = None

    def stepped(self, now: float) -> bool:
        """Whether `now` jumped, forwards or back, by more than the tolerance since the last call."""
        offset = now - self._monotonic()
        before, self._offset = self._offset, offset
        return before is not None and abs(offset - before) > self._tolerance


def stays(error: Exception) -> bool:
    """Whether the database would say the same again: of what was to be written, and not of how it is itself."""
    if isinstance(error, sa.exc.DBAPIError):
        return isinstance(error, sa.exc.DataError | sa.exc.IntegrityError)
    return isinstance(error, sa.exc.StatementError) or not isinstance(error, sa.exc.SQLAlchemyError)


class NotFound(LookupError):
    """Names what was asked for and, where they are few, what there is."""

    def __init__(self, what: str, id: str, known: tuple[str, ...] = ()) -> None:
        self.what, self.id, self.known = what, id, known
        super().__init__(f"no {what} {id!r}" + (f"; known: {', '.join(known)}" if known else ""))


class Conflict(ValueError):
    """The thing stands in a state that does not allow this; the words say which."""


def _read(url: str) -> sa.URL:
    try:
        at = sa.make_url(url)
    except ValueError:
        raise sa.exc.ArgumentError("its port is no number") from None  # and may be a password in the wrong place
    if at.drivername in ("postgresql", "postgres"):
        at = at.set(drivername="postgresql+psycopg")
    if (kind := at.get_backend_name()) not in ("sqlite", "postgresql"):
        raise sa.exc.ArgumentError(f"a database is sqlite:///PATH or postgresql://USER@HOST/NAME, not {kind}")
    try:
        at.get_dialect().import_dbapi()
    except ImportError as e:
        raise sa.exc.ArgumentError(str(e)) from None
    return at


def engine_for(url: str | Path, *, fsync: bool = False) -> sa.Engine:
    """`url` is a SQLAlchemy URL or the path of a SQLite file. With `fsync`, SQLite commits survive loss of power.

    Raises `sqlalchemy.exc.ArgumentError` for a URL that cannot be read, or of another kind than SQLite or PostgreSQL.
    """
    at = _read(f"sqlite:///{url}" if isinstance(url, Path) else url)
    common: dict[str, Any] = {
        "json_serializer": lambda value: orjson.dumps(value).decode(),
        "json_deserializer": orjson.loads,
        "pool_size": 8,
        "max_overflow": 24,
        "pool_timeout": 60,
    }
    if not at.drivername.startswith("sqlite"):
        patience = {name: value for name, value in PATIENCE.items() if name not in at.query}
        return _checked_when_idle(sa.create_engine(at, connect_args=patience, **common))
    if at.database:
        Path(at.database).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(at, connect_args={"timeout": 60}, **common)

    @sa.event.listens_for(engine, "connect")
    def _connect(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # transactions are begun below, not by the driver
        for pragma in ("journal_mode=WAL", f"synchronous={'FULL' if fsync else 'NORMAL'}", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        writes = connection.get_execution_options().get("trajc_writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _checked_when_idle(engine: sa.Engine) -> sa.Engine:
    """Ask a pooled connection whether it is alive only where it lay idle: asking each time costs a claim a tenth."""

    @sa.event.listens_for(engine, "checkin")
    def _note(_: Any, record: Any) -> None:
        record.info["used"] = time.monotonic()

    @sa.event.listens_for(engine, "checkout")
    def _ask(connection: Any, record: Any, _: Any) -> None:
        if time.monotonic() - record.info.get("used", math.inf) > _IDLE_SECONDS:
            try:
                engine.dialect.do_ping(connection)
            except Exception as e:
                raise sa.exc.DisconnectionError("the database closed an idle connection") from e

    return engine


class Database:
    """One database for one process: thread-safe."""

    def __init__(self, engine: sa.Engine, clock: Callable[[], float] | None = None, new_id: MakeId | None = None):
        self.engine = engine
        self.sqlite = engine.dialect.name == "sqlite"
        self.new_id: MakeId = new_id or Ids()
        self._snapshot = engine if self.sqlite else engine.execution_options(isolation_level="REPEATABLE READ")
        self._single = engine if self.sqlite else engine.execution_options(isolation_level="AUTOCOMMIT")
        self._clock = clock
        self._offset, self._clock_good_until = 0.0, 0.0
        self._set_clock()
        # SQLite's own wait for the lock sleeps and is unfair; threads of one process queue up here instead.
        self._writer = threading.Lock() if self.sqlite else contextlib.nullcontext()
        self._listeners: list[Callable[[], None]] = []

    def now(self) -> float:
        """Unix seconds by the one clock that leases are kept by: the database server's, where there is one."""
        if self._clock is not None:
            return self._clock()
        return time.time() if self.sqlite else time.monotonic() + self._offset

    def _set_clock(self) -> None:
        """Ask the server for its time now and then; apart from transactions, which would hold a second connection."""
        if self.sqlite or self._clock is not None or time.monotonic() < self._clock_good_until:
            return
        with self.engine.connect() as c:
            began = time.monotonic()
            there = float(c.execute(sa.text("select extract(epoch from clock_timestamp())")).scalar_one())
            ended = time.monotonic()
        self._offset, self._clock_good_until = there - (began + ended) / 2, ended + _CLOCK_SECONDS

    @contextlib.contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Every statement sees the same moment, so that counts read one after the other add up."""
        self._set_clock()
        with self._snapshot.connect() as c, c.begin():
            yield c

    @contextlib.contextmanager
    def statement(self) -> Iterator[sa.Connection]:
        """For one statement that is a transaction of its own: one round trip where `write` takes three. PostgreSQL
        only."""
        self._set_clock()
        with self._single.connect() as c:
            yield c

    @contextlib.contextmanager
    def write(self) -> Iterator[sa.Connection]:
        self._set_clock()
        with self._writer, self.engine.connect().execution_options(trajc_writes=True) as c, c.begin():
            yield c

    def emit(self, c: sa.Connection, now: float, *rows: tuple[str, str | None, str | None, dict[str, Any]]) -> None:
        """Append events (kind, run, job, data): the last thing that a transaction does.

        Numbers must become visible in their order, or a reader that resumes behind a number misses what commits
        later under a smaller one; so on PostgreSQL writers of events pass one by one.
        """
        if not rows:
            return
        values = [{"kind": k, "run_id": run, "job_id": job, "data": data, "at": now} for k, run, job, data in rows]
        if self.sqlite:
            c.execute(events.insert(), values)
        else:
            c.execute(_EMIT, {"lock": EVENT_LOCK, "rows": orjson.dumps(values).decode()})

    def lock(self, c: sa.Connection, name: str) -> None:
        """Hold the name against other writers until the transaction ends. On SQLite there are no others."""
        if not self.sqlite:
            c.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(name, 0))))

    def insert_new(self, c: sa.Connection, table: sa.Table, rows: list[dict[str, Any]]) -> None:
        """Insert rows whose primary key is not there yet; the others are left as they are."""
        if not rows:
            return
        if self.sqlite:
            from sqlalchemy.dialects.sqlite import insert
        else:
            from sqlalchemy.dialects.postgresql import insert  # type: ignore[assignment]
        c.execute(insert(table).on_conflict_do_nothing(), rows)

    def upsert(self, c: sa.Connection, table: sa.Table, rows: list[dict[str, Any]]) -> None:
        """Insert rows, or put them in the place of those with the same primary key. Rows hold every column."""
        if not rows:
            return
        if self.sqlite:
            from sqlalchemy.dialects.sqlite import insert
        else:
            from sqlalchemy.dialects.postgresql import insert  # type: ignore[assignment]
        made = insert(table)
        others = {column.name: made.excluded[column.name] for column in table.c if not column.primary_key}
        # In one order for all, so that none waits for another in a circle.
        rows = sorted(rows, key=lambda row: [row[key.name] for key in table.primary_key])
        c.execute(made.on_conflict_do_update(index_elements=list(table.primary_key), set_=others), rows)

    def on_queued(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener`, from any thread, after this process queued something. Returns how to stop that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def queued(self) -> None:
        for listener in tuple(self._listeners):
            listener()

    def close(self) -> None:
        self.engine.dispose()
