"""How many rollouts one worker process holds: 2,000 in flight against an endpoint whose calls take about 2 seconds.

Journal and store are on, and rollouts of 2 to 20 turns end and begin all the time. Turns a second, counted over
`WINDOW` seconds once all places are taken, against the ideal: places / latency. A bare aiohttp loop that sends as many
bytes from as many places shows what the endpoint and the machine allow at that moment; the CPU of both sides, which a
busy machine moves less than their rates, is a row of its own.
"""

import asyncio
import gc
import itertools
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp

from api.service import open_service
from api.settings import Settings
from api.work import COLLECT_AFTER
from benchmarks.orchestration_turn import SAMPLING, Pages, captured, child, endpoint
from benchmarks.run import row
from envs.task import Limits, Reference, Task
from rollout.engine import Engine, Timing
from rollout.journal import FolderJournals
from rollout.member import Endpoint
from rollout.model import Conversation, Model, Reply
from rollout.pool import Pool
from rollout.runs import RunSpec, TaskRow
from rollout.transport import Transport
from rollout.worker import RolloutHandler

PLACES, SECONDS = 2000, 2.0
SETTLING, WINDOW = 10.0, 20.0
ROLLOUTS = 6000


class Counted:
    """A model that notes when each of its calls ended."""

    def __init__(self, model: Model) -> None:
        self.name, self.model = model.name, model
        self.ends: list[float] = []

    async def complete(self, conversation: Conversation, sampling: dict[str, Any]) -> Reply:
        reply = await self.model.complete(conversation, sampling)
        self.ends.append(time.monotonic())
        return reply


def tasks() -> list[TaskRow]:
    return [
        TaskRow(
            Task(id=f"t{i}", environment="pages", question=f"Page {i}?", limits=Limits(max_turns=2 + i % 19)),
            Reference(data={"answer": str(i)}),
        )
        for i in range(ROLLOUTS)
    ]


async def window(ends: list[float]) -> dict[str, float]:
    """The rate of calls that end, and the cores used, once all places are taken."""
    await asyncio.sleep(SETTLING)
    began, cpu = time.monotonic(), time.process_time()
    await asyncio.sleep(WINDOW)
    seconds, cpu = time.monotonic() - began, time.process_time() - cpu
    turns = sum(end >= began for end in ends)
    return {"rate": turns / seconds, "cpu": cpu / turns * 1000}


async def bare(port: int) -> dict[str, float]:
    bodies = [len(body) for body in await captured(port, 20, 4096)]
    headers = {"Content-Type": "application/json"}
    whole, ends = memoryview(bytes(bodies[-1])), list[float]()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:

        async def place(first: int) -> None:
            for i in itertools.count(first):
                for size in bodies[: 2 + i % 19]:
                    url = f"http://127.0.0.1:{port}/v1/chat/completions"
                    async with http.post(url, data=whole[:size], headers=headers) as response:
                        await response.read()
                    ends.append(time.monotonic())

        places = [asyncio.create_task(place(i)) for i in range(PLACES)]
        found = await window(ends)
        for task in places:
            task.cancel()
        await asyncio.wait(places)
    return found


async def ours(port: int) -> dict[str, float]:
    gc.set_threshold(*COLLECT_AFTER)  # as `at_work` does
    with tempfile.TemporaryDirectory() as home:
        settings = Settings(home=Path(home))
        with open_service(settings) as service:
            async with (
                Transport() as http,
                Pool("m", [Endpoint(f"http://127.0.0.1:{port}/v1", slots=PLACES)], http=http) as pool,
            ):
                model = Counted(pool)
                handler = RolloutHandler(
                    service.store,
                    {"pages": Pages(4096)},
                    lambda _: model,
                    journals=FolderJournals(settings.journals, fsync=settings.fsync),
                )
                spec = RunSpec(environment="pages", model="m", sampling=SAMPLING)
                await asyncio.to_thread(service.store.create_run, spec, tasks())
                timing = Timing(grace=0.0, close=30.0)
                engine = Engine(service.store, {"rollout": handler}, "w1", {"rollout": PLACES}, timing)
                working = asyncio.create_task(engine.run())
                found = await window(model.ends)
                if engine.running < PLACES * 0.95:
                    raise RuntimeError(f"only {engine.running} rollouts were in flight")
                engine.stop()
                await working
    return found


def run() -> list[dict[str, Any]]:
    with endpoint(SECONDS) as port:
        us = child("benchmarks.orchestration_many", "ours", port)
        them = child("benchmarks.orchestration_many", "bare", port)
    return [
        row("orchestration/many_2000", us["rate"], PLACES / SECONDS, "turns/s", ">=0.95"),
        row("orchestration/many_2000_vs_bare", us["rate"], them["rate"], "turns/s", ">=0.95"),
        row("orchestration/many_2000_cpu_vs_bare", us["cpu"], them["cpu"], "ms CPU/turn", "<=4.5"),
    ]


if __name__ == "__main__":
    side, port = sys.argv[1], int(sys.argv[2])
    print(json.dumps(asyncio.run(ours(port) if side == "ours" else bare(port))))
