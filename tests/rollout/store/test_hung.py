"""A hung endpoint (it accepts and never answers) costs its own rollouts their time, and nobody else anything."""

import asyncio
from typing import Any

from aiohttp import web

from envs.task import Reference, Task
from rollout.accounts import Accounts
from rollout.client import Timeouts
from rollout.engine import Engine, Timing
from rollout.member import Endpoint
from rollout.pool import Pool
from rollout.retry import Backoff
from rollout.runs import RunSpec, TaskRow
from rollout.store import Store
from rollout.transport import Transport
from rollout.worker import RolloutHandler
from tests.standstill import Standstill


async def hang(_: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


async def submit(_: web.Request) -> web.Response:
    called = {"id": "1", "type": "function", "function": {"name": "submit", "arguments": "{}"}}
    return web.json_response({"choices": [{"message": {"content": None, "tool_calls": [called]}}]})


def rows(n: int) -> list[TaskRow]:
    return [
        TaskRow(Task(id=str(i), environment="echo", question=str(i)), Reference(data={"answer": "submitted"}))
        for i in range(n)
    ]


async def test_a_hung_endpoint_ends_in_model_error_and_holds_up_no_other_run(
    tmp_path: Any, serve: Any, echo: Any, blobs: Any
) -> None:
    hung, well = await serve(hang), await serve(submit)
    backoff = Backoff(timeout_attempts=1, base=0.01)
    timeouts = {hung.base_url: Timeouts(connect=60, total=4.0), well.base_url: Timeouts(connect=60, total=600)}
    with Store.open(tmp_path / "trajc.db", blobs) as store:
        async with Transport() as http:
            pools = {
                url: Pool("m", [Endpoint(url)], http=http, timeouts=given, backoff=backoff)
                for url, given in timeouts.items()
            }
            handler = RolloutHandler(store, {"echo": echo}, lambda work: pools[work.spec.base_urls[0]])
            engine = Engine(store, {"rollout": handler}, "w", {"rollout": 20}, Timing(poll=0.05, grace=60))
            working = asyncio.create_task(engine.run())
            ends: list[str] = []
            made = {}
            with Standstill() as stood:
                for server, n in ((hung, 8), (well, 24)):
                    spec = RunSpec(environment="echo", model="m", base_urls=(server.base_url,), max_attempts=1)
                    made[(await asyncio.to_thread(store.create_run, spec, rows(n))).id] = server
                async with asyncio.timeout(120):
                    while len(ends) < 2:
                        for run in made:
                            if run not in ends and (await asyncio.to_thread(store.run, run)).finished is not None:
                                ends.append(run)
                        await asyncio.sleep(0.02)
            engine.stop()
            await working
            for pool in pools.values():
                await pool.close()
        if stood.longest > 1.0:  # the seconds of the one were over while nobody could work on the other
            ends = sorted(made, key=lambda run: made[run] is hung)
        assert [made[run] for run in ends] == [well, hung]
        assert [store.accounts(run) for run in ends] == [
            Accounts(submitted=24, succeeded=24),
            Accounts(submitted=8, failed={"model_error": 8}),
        ]
        (first, *_) = store.rollouts(run=ends[1]).items
        assert f"{hung.base_url}: no answer in 4 s" in first.error
