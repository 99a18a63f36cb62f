"""How many rollouts one worker process holds: 2,000 in flight against an endpoint whose calls take about 2 seconds.

Journal and store are on, and rollouts of 2 to 20 turns end and begin all the time. Turns a second, counted over
`WINDOW` seconds once all places are taken, against the ideal: places / latency.
"""

import asyncio
import gc
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from api.service import open_service
from api.settings import Settings
from api.work import COLLECT_AFTER
from benchmarks.orchestration_turn import SAMPLING, Pages, child, endpoint
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


async def ours(port: int) -> dict[str, Any]:
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
                await asyncio.sleep(SETTLING)
                began, cpu = time.monotonic(), time.process_time()
                await asyncio.sleep(WINDOW)
                ended, cpu = time.monotonic(), time.process_time() - cpu
                held = engine.running
                engine.stop()
                await working
    turns = sum(began <= end < ended for end in model.ends)
    return {"rate": turns / (ended - began), "running": held, "cpu": cpu / (ended - began)}


def run() -> list[dict[str, Any]]:
    with endpoint(SECONDS) as port:
        held = child("benchmarks.orchestration_many", port)
    return [row("orchestration/many_2000", held["rate"], PLACES / SECONDS, "turns/s", ">=0.95")]


if __name__ == "__main__":
    print(json.dumps(asyncio.run(ours(int(sys.argv[1])))))
