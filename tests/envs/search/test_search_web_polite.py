"""Search APIs and sites are asked at a bounded rate by all rollouts together, and left alone when they ask for it."""

import asyncio
import os
import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from envs.blobs import MemoryBlobs
from envs.environment import Site
from envs.errors import EnvironmentFailure
from envs.search.environment import SearchEnvironment
from envs.search.tools import SEARCH, VISIT
from envs.task import Task
from envs.tool import ToolResult

TASK = Task(id="t", environment="search", question="?", world={"corpus": "web"})


@dataclass
class Api:
    """A search API and a site; `answers` are given first, one a request: (status, headers)."""

    origin: str = ""
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    seconds: float = 0.0
    asked: list[str] = field(default_factory=list)
    refused: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        if request.path == "/robots.txt":
            raise web.HTTPNotFound
        if request.path == "/page":
            return web.Response(status=503, headers={"retry-after": "120"})
        if request.path == "/other":
            return web.Response(text="words")
        self.times.append(time.monotonic())
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(self.seconds)
        self.at_once -= 1
        if self.answers:
            status, headers = self.answers.pop(0)
            self.refused.set()
            return web.Response(status=status, headers=headers)
        return web.json_response({"results": [{"url": "http://a.test/", "title": "A", "content": "words"}]})


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    fake = Api()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", fake.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    fake.origin = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield fake
    await runner.cleanup()


@pytest.fixture
async def environments(tmp_path: Path, api: Api) -> AsyncIterator[Any]:
    made = []

    def make(**provider: Any) -> SearchEnvironment:
        given = {
            "provider": {"shape": "searxng", "url": api.origin, **provider},
            "pause_seconds": 0,
            "allowed_hosts": [api.origin.removeprefix("http://")],
        }
        made.append(SearchEnvironment(Site(tmp_path, MemoryBlobs(), {"web": given})))
        return made[-1]

    yield make
    for environment in made:
        await environment.close()


async def searched(environment: SearchEnvironment) -> ToolResult:
    """By a rollout of its own."""
    return await (await environment.start(TASK, {})).call("search", SEARCH.parse({"query": "q"}))


def pages_in(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.json"))


async def test_rollouts_share_the_pause_between_requests_to_the_api(api: Api, environments: Any) -> None:
    environment = environments(pause_seconds=0.1)
    began = time.monotonic()
    await asyncio.gather(*(searched(environment) for _ in range(6)))
    came = [at - began for at in sorted(api.times)]
    assert [at >= 0.1 * turn for turn, at in enumerate(came)] == [True] * 6, came


async def test_rollouts_share_the_bound_on_requests_at_once(api: Api, environments: Any) -> None:
    api.seconds = 0.05
    environment = environments(at_once=2)
    await asyncio.gather(*(searched(environment) for _ in range(6)))
    assert (len(api.times), api.most_at_once) == (6, 2)


@pytest.mark.parametrize("status", [429, 503])
async def test_an_api_that_asks_for_patience_gets_it_from_every_rollout_and_the_agent_pays_no_time(
    api: Api, environments: Any, status: int
) -> None:
    api.answers = [(status, {"retry-after": "2"})]
    environment = environments()
    began = time.monotonic()
    first = asyncio.create_task(searched(environment))
    await api.refused.wait()
    for _ in range(1000):  # server and client share this loop: the refusal is read by then, however busy the machine
        await asyncio.sleep(0)
    second = await searched(environment)
    results = [await first, second]
    assert [len(result.evidence) for result in results] == [1, 1]
    assert min(t - api.times[0] for t in api.times[1:]) > 1.9
    took = time.monotonic() - began
    assert max(result.seconds for result in results) < took - 1.9, "the wait is no part of it"


async def test_patience_has_an_end_that_is_our_failure(api: Api, environments: Any) -> None:
    api.answers = [(429, {"retry-after": "1000"})]
    environment = environments(patience_seconds=5)
    with pytest.raises(EnvironmentFailure, match=r"asks to be left alone for another (9\d\d|1000) seconds"):
        await searched(environment)
    with pytest.raises(EnvironmentFailure, match="left alone"):
        await searched(environment)
    assert len(api.times) == 1


async def test_an_api_that_stumbles_is_asked_again_and_one_that_refuses_is_not(api: Api, environments: Any) -> None:
    api.answers = [(502, {})]
    environment = environments()
    assert len((await searched(environment)).evidence) == 1
    api.answers = [(401, {})]
    with pytest.raises(EnvironmentFailure, match="failed: 401"):
        await searched(environment)
    assert len(api.times) == 3


async def test_a_site_that_asks_to_be_left_alone_is(api: Api, environments: Any) -> None:
    environment = environments()
    session = await environment.start(TASK, {})
    texts = [
        (await session.call("visit", VISIT.parse({"id": api.origin + path}))).text
        for path in ("/page", "/other", "/page")
    ]
    assert "the server answered 503" in texts[0]
    assert re.search(r"the site asks to be left alone for another 1[0-2]\d seconds", texts[1])
    assert api.asked == ["/robots.txt", "/page"]


async def test_rules_of_a_site_are_asked_for_once_however_many_want_them(api: Api, environments: Any) -> None:
    environment = environments()
    session = await environment.start(TASK, {})
    urls = [f"{api.origin}/other?{n}" for n in range(5)]
    found = await asyncio.gather(*(session.call("visit", VISIT.parse({"id": url})) for url in urls))
    assert [result.is_error for result in found] == [False] * 5
    assert api.asked.count("/robots.txt") == 1


async def test_pages_that_nobody_is_given_any_more_do_not_fill_the_disk(
    api: Api, environments: Any, tmp_path: Path
) -> None:
    session = await environments().start(TASK, {})
    await session.call("visit", VISIT.parse({"id": f"{api.origin}/other"}))
    (kept,) = pages_in(tmp_path)
    stale, fresh = kept.with_name("stale.json"), kept.with_name("fresh.json")
    for path in (kept, stale, fresh):
        path.touch()
    for path in (kept, stale):
        os.utime(path, (0, 0))
    await session.call("visit", VISIT.parse({"id": f"{api.origin}/other"}))
    assert pages_in(tmp_path) == sorted([kept, fresh])
    assert api.asked.count("/other") == 2
