"""What a rollout costs with everything on: claimed from the store, each turn in its journal, its trajectory kept.

64 rollouts at once through the engine, the handler, the journals and SQLite as `trajc serve` puts them together,
against the bare aiohttp loop of `orchestration_turn`, which sends as many bytes and keeps nothing. CPU of the whole
process and its children, from a run's creation until it is noted as finished.
"""

import asyncio
import gc
import json
import resource
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from api.models import Models
from api.service import Service, open_service
from api.settings import Settings
from api.work import COLLECT_AFTER
from benchmarks.orchestration_turn import SAMPLING, Pages, child, endpoint, measured
from benchmarks.run import row
from envs.task import Limits, Reference, Task
from rollout.engine import Engine
from rollout.journal import FolderJournals
from rollout.runs import RunSpec, TaskRow
from rollout.worker import RolloutHandler

ROUNDS = 3
ROLLOUTS = 64


@dataclass(frozen=True)
class Cost:
    cpu: float
    wall: float
    turns: int


def cpu_seconds() -> float:
    """Of this process, all its threads, and its children that ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


async def play(service: Service, engine: Engine, turns: int, rollouts: int) -> Cost:
    """One run from its creation to its end."""
    limits = Limits(max_turns=turns)
    rows = [
        TaskRow(
            Task(id=f"t{i}", environment="pages", question=f"What is on page {turns + i}?", limits=limits),
            Reference(data={"answer": str(i)}),
        )
        for i in range(rollouts)
    ]
    began, wall = cpu_seconds(), time.perf_counter()
    run = await asyncio.to_thread(
        service.store.create_run, RunSpec(environment="pages", model="m", sampling=SAMPLING), rows
    )
    for busy in (True, False):
        while (engine.running > 0) != busy:  # noqa: ASYNC110 - a look costs nothing, and the engine has no event for it
            await asyncio.sleep(0.01)
    cost = Cost(cpu_seconds() - began, time.perf_counter() - wall, turns * rollouts)
    accounts = service.store.accounts(run.id)
    kept = service.store.trajectories(runs=[run.id], limit=rollouts).items
    if accounts.succeeded != rollouts or [row.turns for row in kept] != [turns] * rollouts:
        raise RuntimeError(f"not every rollout went to its end: {accounts}")
    return cost


async def ours(port: int, turns: int, size: int, rollouts: int) -> Cost:
    gc.set_threshold(*COLLECT_AFTER)  # as `at_work` does
    with tempfile.TemporaryDirectory() as home:
        settings = Settings(home=Path(home), base_url=(f"http://127.0.0.1:{port}/v1",), concurrency=rollouts)
        with open_service(settings) as service:
            async with Models(settings) as models:
                handler = RolloutHandler(
                    service.store,
                    {"pages": Pages(size)},
                    models,
                    journals=FolderJournals(settings.journals, fsync=settings.fsync),
                )
                engine = Engine(service.store, {"rollout": handler}, "w1", {"rollout": rollouts})
                working = asyncio.create_task(engine.run())
                await play(service, engine, 3, rollouts)
                cost = await play(service, engine, turns, rollouts)
                engine.stop()
                await working
                return cost


def a_turn(port: int, turns: int, size: int) -> tuple[float, float]:
    """Milliseconds of CPU a turn: ours, bare."""
    us, them = [], []
    for _ in range(ROUNDS):
        us.append(child("benchmarks.orchestration_engine", port, turns, size)["cpu"])
        them.append(measured("bare", port, turns, size, 0)["cpu"])
    scale = 1000 / ROLLOUTS / turns
    return statistics.median(us) * scale, statistics.median(them) * scale


def run() -> list[dict[str, Any]]:
    with endpoint() as port:
        short = a_turn(port, 20, 4096)
        long = a_turn(port, 100, 4096)
    return [
        row("orchestration/engine_turn_20", *short, "ms CPU/turn", "<=4.5"),
        row("orchestration/engine_turn_100", *long, "ms CPU/turn", "<=4.5"),
    ]


if __name__ == "__main__":
    port, turns, size = map(int, sys.argv[1:])
    print(json.dumps(asyncio.run(ours(port, turns, size, ROLLOUTS)).__dict__))
