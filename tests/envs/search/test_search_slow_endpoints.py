"""An endpoint that answers byte by byte and never ends holds no rollout up."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from envs.blobs import MemoryBlobs
from envs.environment import Site
from envs.errors import EnvironmentFailure
from envs.score import Submission
from envs.search.environment import SearchEnvironment
from envs.search.tools import SEARCH
from envs.task import Reference, Task

TASK = Task(id="t", environment="search", question="?", world={"corpus": "web"})


async def drips(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse(headers={"content-type": "application/json"})
    await answer.prepare(request)
    while True:
        await answer.write(b" ")
        await asyncio.sleep(0.02)


@pytest.fixture
async def origin() -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", drips)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def judged(environment: SearchEnvironment) -> None:
    await environment.score(TASK, Reference(data={"answers": ["a"]}), Submission(kind="text", text="b"))


async def searched(environment: SearchEnvironment) -> None:
    await (await environment.start(TASK, {})).call("search", SEARCH.parse({"query": "q"}))


@pytest.mark.parametrize("ask", [judged, searched])
async def test_a_request_has_an_end(tmp_path: Path, origin: str, ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("envs.search.endpoint._TRIES", 1)
    monkeypatch.setattr("envs.search.web.providers._TRIES", 1)
    given = {
        "judge": {"base_url": f"{origin}/v1", "model": "m", "seconds": 0.1},
        "web": {"provider": {"shape": "searxng", "url": origin, "seconds": 0.1}},
    }
    environment = SearchEnvironment(Site(tmp_path, MemoryBlobs(), given))
    async with asyncio.timeout(60):
        with pytest.raises(EnvironmentFailure, match=r"no whole answer within 0\.1 seconds"):
            await ask(environment)
    await environment.close()
