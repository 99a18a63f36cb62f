"""A database is brought to the tables that the code names, by whoever opens it first."""

import threading

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from envs.blobs import BlobStore, MemoryBlobs
from rollout.database import engine_for
from rollout.migrations import NewerDatabase, upgrade
from rollout.schema import metadata
from rollout.store import Store


def test_the_steps_lead_to_the_tables_of_the_schema(url: str) -> None:
    engine = engine_for(url)
    upgrade(engine)
    with engine.connect() as c, c.begin():
        assert compare_metadata(MigrationContext.configure(c), metadata) == []
    engine.dispose()


def test_many_may_open_a_new_database_at_once(url: str) -> None:
    failures: list[BaseException] = []

    def open_and_close() -> None:
        try:
            Store.open(url, MemoryBlobs()).close()
        except BaseException as e:
            failures.append(e)

    threads = [threading.Thread(target=open_and_close) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_database_of_a_newer_trajc_is_refused(url: str, blobs: BlobStore) -> None:
    engine = engine_for(url)
    upgrade(engine)
    with engine.connect().execution_options(trajc_writes=True) as c, c.begin():
        c.execute(sa.text("update alembic_version set version_num = '9999'"))
    engine.dispose()
    with pytest.raises(NewerDatabase, match=r"'9999', which this trajc does not know; upgrade trajc"):
        Store.open(url, blobs)


def test_the_jobs_are_vacuumed_as_often_as_a_queue_needs_it(url: str) -> None:
    engine = engine_for(url)
    upgrade(engine)
    if engine.dialect.name == "postgresql":
        with engine.connect() as c:
            options = c.execute(sa.text("select reloptions from pg_class where relname = 'jobs'")).scalar_one()
        assert "autovacuum_vacuum_threshold=5000" in options
        assert "vacuum_index_cleanup=on" in options
    engine.dispose()
