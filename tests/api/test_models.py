"""The models of a process follow the database: endpoints come, go and are bounded while calls are made."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from api.endpoints import served
from api.models import Models
from api.service import Service
from api.settings import Settings
from envs.task import Task
from rollout.blobs import FolderBlobs
from rollout.endpoints import FRESH_SECONDS, EndpointEntry, EndpointState
from rollout.model import Conversation, Model, ModelError, ModelUnauthorised
from rollout.runs import RunSpec, Work
from rollout.store import Store
from rollout.trajectory import Message


@dataclass
class Endpoint:
    """A chat server that remembers who asked and how many did at once."""

    seconds: float = 0.0
    until: int = 0
    """It answers nobody before so many are at it."""
    status: int = 200
    now: int = 0
    most: int = 0
    asked: list[str] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    url: str = ""

    async def chat(self, request: web.Request) -> web.Response:
        self.asked.append((await request.json())["messages"][0]["content"])
        self.keys.append(request.headers.get("Authorization"))
        self.now += 1
        self.most = max(self.most, self.now)
        while self.most < self.until:  # noqa: ASYNC110 - nobody tells it
            await asyncio.sleep(0.01)
        await asyncio.sleep(self.seconds)
        self.now -= 1
        if self.status != 200:
            return web.json_response({"error": {"message": "who are you?"}}, status=self.status)
        usage = {"prompt_tokens": 5, "completion_tokens": 2}
        return web.json_response({"choices": [{"message": {"content": "hi"}}], "usage": usage})


@pytest.fixture
async def serve() -> AsyncIterator[Any]:
    servers = []

    async def start(**how: Any) -> Endpoint:
        made = Endpoint(**how)
        app = web.Application()
        app.router.add_post("/v1/chat/completions", made.chat)
        servers.append(TestServer(app))
        await servers[-1].start_server(shutdown_timeout=0.1)
        made.url = f"http://127.0.0.1:{servers[-1].port}/v1"
        return made

    yield start
    for server in servers:
        await server.close()


def talk(name: str) -> Conversation:
    conversation = Conversation(name)
    conversation.append(Message(role="user", content=name))
    return conversation


def work(run: str = "run_1", **spec: Any) -> Work:
    task = Task(id="t", environment="sql", question="?")
    return Work(run, RunSpec(environment="sql", model="m", **spec), task, None)


async def ask(model: Model, n: int, name: str = "r") -> list[str]:
    """`n` calls of as many rollouts at once; the endpoint that served each."""
    replies = await asyncio.gather(*(model.complete(talk(f"{name}{i}"), {}) for i in range(n)))
    return [reply.endpoint for reply in replies]


async def test_an_endpoint_that_is_added_and_removed_is_asked_and_left_by_runs_at_work(
    service: Service, serve: Any
) -> None:
    first, second = await serve(), await serve()
    service.store.put_endpoint(EndpointEntry(first.url))
    async with Models(service.settings, service.store) as models:
        model = models(work())
        assert set(await ask(model, 4)) == {first.url}
        service.store.put_endpoint(EndpointEntry(second.url))
        await models.exchange()
        assert set(await ask(model, 8)) == {first.url, second.url}
        service.store.put_endpoint(EndpointEntry(first.url, removed=True))
        await models.exchange()
        assert set(await ask(model, 4)) == {second.url}
        service.store.put_endpoint(EndpointEntry(second.url, removed=True))
        await models.exchange()
        pool = models.pool_of("run_1", "m", ())
        assert pool.status() == ()


async def test_an_endpoint_that_a_run_names_itself_can_be_replaced_for_that_run_alone(
    service: Service, serve: Any
) -> None:
    named, other = await serve(), await serve()
    async with Models(service.settings, service.store) as models:
        mine, another = models(work("run_1", base_urls=(named.url,))), models(work("run_2", base_urls=(named.url,)))
        await ask(mine, 1)
        service.store.put_endpoint(EndpointEntry(named.url, run="run_1", removed=True))
        service.store.put_endpoint(EndpointEntry(other.url, run="run_1"))
        await models.exchange()
        assert (set(await ask(mine, 3)), set(await ask(another, 3))) == ({other.url}, {named.url})


async def test_an_endpoint_s_bound_holds_over_all_pools_and_processes(service: Service, serve: Any) -> None:
    endpoint = await serve(seconds=0.05, until=4)
    service.store.put_endpoint(EndpointEntry(endpoint.url, at_once=4))
    async with Models(service.settings, service.store) as models:
        inside, named = models(work("run_1")), models(work("run_2", base_urls=(endpoint.url,)))
        await asyncio.gather(ask(inside, 10), ask(named, 10))
        assert endpoint.most == 4
        elsewhere = EndpointState(endpoint.url, "elsewhere:1", "well", 64, 1, 0, "", 0.0)
        service.store.exchange("elsewhere:1", [], [elsewhere], ())
        await models.exchange()
        endpoint.most, endpoint.until = 0, 2
        await asyncio.gather(ask(inside, 10), ask(named, 10))
        assert endpoint.most == 2, "half of it is the other process's"


async def test_a_run_s_bound_holds_back_that_run_alone(service: Service, serve: Any) -> None:
    endpoint = await serve(seconds=0.05)
    async with Models(service.settings, service.store) as models:
        slow = models(work("run_1", base_urls=(endpoint.url,), calls_at_once=2))
        again = models(work("run_1", base_urls=(endpoint.url,), calls_at_once=2))
        endpoint.until = 2
        await asyncio.gather(ask(slow, 6), ask(again, 6))
        assert endpoint.most == 2
        endpoint.until = 8
        free = models(work("run_2", base_urls=(endpoint.url,)))
        await asyncio.gather(ask(slow, 6), ask(free, 6))
        assert endpoint.most == 8


async def test_the_slots_to_begin_with_are_the_setting_s_or_the_endpoint_s_own(
    service: Service, serve: Any, tmp_path: Path
) -> None:
    usual, own = await serve(), await serve()
    service.store.put_endpoint(EndpointEntry(own.url, slots=3))
    settings = Settings(home=tmp_path, base_url=(usual.url,), model_slots=2000)
    async with Models(settings, service.store) as models:
        statuses = models.pool_of("", "m", ()).status()
        assert {s.url: s.slots for s in statuses} == {usual.url: 2000, own.url: 3}


async def test_what_calls_came_to_is_told_by_run_and_endpoint(service: Service, serve: Any) -> None:
    well, refusing = await serve(), await serve(status=401)
    async with Models(service.settings, service.store) as models:
        await ask(models(work("run_1", base_urls=(well.url,))), 3)
        await ask(models.pool("m", (well.url,)), 1)
        with pytest.raises(ModelUnauthorised):
            await ask(models(work("run_2", base_urls=(refusing.url,))), 1)
    told = {
        run: [(use.endpoint, use.calls, use.failures, use.prompt_tokens) for use in service.store.endpoint_uses(run)]
        for run in ("run_1", "", "run_2")
    }
    assert told == {
        "run_1": [(well.url, 3, 0, 15)],
        "": [(well.url, 1, 0, 5)],
        "run_2": [(refusing.url, 0, 1, 0)],
    }


async def test_a_wrong_key_names_the_settings_that_hold_it(service: Service, serve: Any) -> None:
    endpoint = await serve(status=401)
    async with Models(service.settings, service.store) as models:
        with pytest.raises(ModelUnauthorised, match=r"answered 401: who are you\?; the key is TRAJC_MODEL_KEY, or "):
            await ask(models(work(base_urls=(endpoint.url,))), 1)


async def test_each_endpoint_gets_its_own_key_from_the_file_and_none_that_is_another_s(
    service: Service, serve: Any, tmp_path: Path
) -> None:
    one, other = await serve(), await serve()
    keys = tmp_path / "keys.json"
    keys.write_bytes(orjson.dumps({one.url: "secret-1", "https://elsewhere/v1": "secret-2"}))
    settings = Settings.model_validate(
        {"home": tmp_path, "model_keys": keys, "model_key": "general", "api_keys": "caller", "base_url": other.url}
    )
    async with Models(settings, service.store) as models:
        for endpoint in (one, other):
            await ask(models(work(base_urls=(endpoint.url,))), 1)
        keys.write_bytes(orjson.dumps({one.url: "secret-3", "x": "longer"}))
        await models.exchange()
        await ask(models(work(base_urls=(one.url,))), 1)
    assert one.keys == ["Bearer secret-1", "Bearer secret-3"]
    assert other.keys == ["Bearer general"]


async def test_a_key_file_that_is_just_being_written_takes_no_key_from_an_endpoint_and_gives_it_no_other(
    service: Service, serve: Any, tmp_path: Path
) -> None:
    endpoint, keys = await serve(), tmp_path / "keys.json"
    keys.write_bytes(orjson.dumps({endpoint.url: "its own"}))
    settings = Settings.model_validate({"home": tmp_path, "model_keys": keys, "model_key": "general"})
    async with Models(settings, service.store) as models:
        for torn in (None, b"", b'{"http'):
            if torn is not None:
                keys.write_bytes(torn)
            await models.exchange()
            await ask(models(work(base_urls=(endpoint.url,))), 1)
        keys.unlink()
        await models.exchange()
        await ask(models(work(base_urls=(endpoint.url,))), 1)
    assert endpoint.keys == ["Bearer its own"] * 4


async def test_a_dead_endpoint_is_said_to_be_dead_for_as_long_as_rollouts_wait_for_it(
    tmp_path: Path, serve: Any
) -> None:
    server = await serve()
    now = [1e6]
    settings = Settings(home=tmp_path, base_url=(server.url,))
    with Store.open(tmp_path / "trajc.db", FolderBlobs(tmp_path / "blobs"), clock=lambda: now[0]) as store:
        async with Models(settings, store) as models:
            await ask(models.pool("m", ()), 1)
            server.status = 500
            waiting = [asyncio.create_task(ask(models.pool("m", ()), 1)) for _ in range(4)]
            pool = models.pool_of("", "m", ())
            async with asyncio.timeout(60):
                while not pool.stranded:  # noqa: ASYNC110 - it tells nobody
                    await asyncio.sleep(0.01)
            states = []
            for _ in range(5):
                await models.exchange()
                now[0] += FRESH_SECONDS / 2
                states += [use.state for use in store.endpoint_uses()]
            assert states == ["failing"] * 5
            for task in waiting:
                task.cancel()
            await asyncio.wait(waiting)


async def test_a_hung_endpoint_is_given_up_after_the_time_that_the_settings_allow_a_call(
    tmp_path: Path, serve: Any
) -> None:
    server = await serve(seconds=30)
    async with Models(Settings(home=tmp_path, base_url=(server.url,), model_seconds=0.5)) as models:
        async with asyncio.timeout(60):
            with pytest.raises(ModelError, match=r"no answer in 0\.5 s \(gave up after 2 attempts\)"):
                await ask(models.pool("m", ()), 1)
    assert len(server.asked) <= 2


async def test_an_endpoint_whose_list_of_models_never_ends_does_not_hold_up_who_queues_a_run() -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        with contextlib.suppress(ConnectionError):
            while True:
                await answer.write(b" " * 65536)
        return answer

    app = web.Application()
    app.router.add_get("/v1/models", endless)
    async with TestServer(app) as server:
        url = f"http://127.0.0.1:{server.port}/v1"
        async with asyncio.timeout(30):
            assert await served(Settings(), url) == "answered with no list of models"
