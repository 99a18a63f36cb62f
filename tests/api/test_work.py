"""What goes on beside the engine goes on through a database that is away and settings that are wrong for a while."""

import asyncio
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from api.embedded import forget_events
from api.models import Models
from api.service import Service, open_service
from api.settings import Settings
from api.work import at_work, tidy
from rollout.endpoints import EndpointEntry
from rollout.journal import FolderJournals
from rollout.worker import RolloutHandler


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not true():  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0.01)


async def test_journals_are_swept_on_after_the_database_was_away(service: Service, caplog: Any) -> None:
    journals = FolderJournals(service.settings.journals)
    for name in ("ro_1", "ro_2"):
        journals.open(name, 1).close()
    (journals.root / "notes.jsonl").touch()
    async with Models(service.settings, service.store) as models:
        with service.store.write() as c:
            c.execute(sa.text("alter table jobs rename to away"))
        handler = RolloutHandler(service.store, {}, models, journals=journals)
        tidying = asyncio.create_task(tidy(models, handler, seconds=0.02))
        await until(lambda: "trying again" in caplog.text)
        with service.store.write() as c:
            c.execute(sa.text("alter table away rename to jobs"))
        await until(lambda: not journals.rollouts())
        tidying.cancel()
        await asyncio.wait([tidying])
    assert [path.name for path in sorted(journals.root.iterdir())] == ["notes.jsonl"]


async def test_a_key_that_no_header_can_carry_keeps_nobody_from_following_the_endpoints(
    tmp_path: Path, caplog: Any
) -> None:
    one, other = "http://127.0.0.1:9/v1", "http://127.0.0.1:10/v1"
    keys = tmp_path / "keys.json"
    keys.write_text(f'{{"{one}": "sk-1\\n"}}')
    with open_service(Settings(home=tmp_path / "home", base_url=(one,))) as service:
        async with Models(service.settings, service.store) as models:
            pool = models.pool_of("run_1", "m", ())
            models.settings = service.settings.model_copy(update={"model_keys": keys})
            await asyncio.to_thread(service.store.put_endpoint, EndpointEntry(other))
            for _ in range(3):
                await models.exchange()
            assert [status.url for status in pool.status()] == [one, other]
    assert caplog.text.count("no HTTP header can carry") == 1


async def test_a_process_that_works_may_open_more_files_than_a_shell_gives_it(service: Service) -> None:
    """A journal and a connection for each of thousands of rollouts."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, before[1]))
    try:
        async with at_work(service, {}):
            assert resource.getrlimit(resource.RLIMIT_NOFILE) == (min(1 << 16, before[1]), before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_a_service_left_alone_for_a_month_keeps_no_event_of_then(tmp_path: Path, caplog: Any) -> None:
    with open_service(Settings(home=tmp_path / "home", event_days=1e-6)) as service:
        with service.store.write() as c:
            service.store.emit(c, service.store.now(), ("run.finished", "ru_1", None, {}))
            c.execute(sa.text("alter table events rename to away"))
        forgetting = asyncio.create_task(forget_events(service, seconds=0.02))
        await until(lambda: "trying again" in caplog.text)
        with service.store.write() as c:
            c.execute(sa.text("alter table away rename to events"))
        await until(lambda: not service.store.events())
        forgetting.cancel()
        await asyncio.wait([forgetting])
