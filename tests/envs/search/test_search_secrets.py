"""A key is in no error, whatever a server repeats or a library shows."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from envs.blobs import MemoryBlobs
from envs.environment import Site
from envs.errors import EnvironmentFailure, TaskError
from envs.score import Submission
from envs.search.environment import SearchEnvironment
from envs.search.tools import SEARCH
from envs.task import Reference, Task

KEY = "sk-secret"
TASK = Task(id="t", environment="search", question="?", world={"corpus": "web"})


async def repeats(request: web.Request) -> web.Response:
    said = [request.headers.get(name, "") for name in ("authorization", "x-api-key")]
    return web.Response(status=401, text=f"Incorrect API key provided: {said}")


@pytest.fixture
async def host() -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", repeats)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def judged(folder: Path, url: str, key: str) -> None:
    judge = {"base_url": f"{url}/v1", "model": "grader", "api_key": key}
    environment = SearchEnvironment(Site(folder, MemoryBlobs(), {"judge": judge}))
    await environment.score(TASK, Reference(data={"answers": ["a"]}), Submission(kind="text", text="b"))


async def searched(folder: Path, url: str, key: str) -> None:
    given: dict[str, Any] = {
        "shape": "serper",
        "url": f"{url.replace('//', f'//user:{KEY}@')}/search?key={KEY}",
        "api_key": key,
    }
    environment = SearchEnvironment(Site(folder, MemoryBlobs(), {"web": {"provider": given}}))
    try:
        await (await environment.start(TASK, {})).call("search", SEARCH.parse({"query": "q"}))
    finally:
        await environment.close()


@pytest.mark.parametrize("key", [KEY, f"{KEY}\n", f" {KEY}\r\n"])
@pytest.mark.parametrize("ask", [judged, searched])
async def test_a_refusal_that_repeats_the_key_is_told_without_it(tmp_path: Path, host: str, ask: Any, key: str) -> None:
    """A key from a file often ends its line, which no header can hold."""
    with pytest.raises(EnvironmentFailure, match="401") as e:
        await ask(tmp_path, f"http://{host}", key)
    assert KEY not in str(e.value)


@pytest.mark.parametrize("key", [f"{KEY}\nx: y", f"{KEY}“", f"{KEY}\0"])
@pytest.mark.parametrize("ask", [judged, searched])
async def test_a_key_that_no_header_can_hold_is_refused_as_a_setting(tmp_path: Path, ask: Any, key: str) -> None:
    with pytest.raises(TaskError, match=r"api_key: .*must be one line of printable ASCII") as e:
        await ask(tmp_path, "http://127.0.0.1:9", key)
    assert KEY not in str(e.value)
