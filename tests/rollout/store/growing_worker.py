"""A worker process that is given `rounds` runs of `rollouts` short rollouts, one after the other, and prints after each
how much memory it holds, as a JSON list of bytes: everything as in a real one, the endpoint over HTTP."""

import asyncio
import gc
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.orchestration_turn import Pages, endpoint
from envs.task import Limits, Reference, Task
from rollout.blobs import FolderBlobs
from rollout.engine import Engine
from rollout.journal import FolderJournals
from rollout.member import Endpoint
from rollout.pool import Pool
from rollout.runs import RunSpec, TaskRow
from rollout.store import Store
from rollout.transport import Transport
from rollout.worker import RolloutHandler


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def until(told: Callable[[], bool]) -> None:
    while not await asyncio.to_thread(told):  # noqa: ASYNC110 - the store has no event for it
        await asyncio.sleep(0.02)


async def work(folder: Path, port: int, rounds: int, rollouts: int) -> list[int]:
    held = []
    with Store.open(folder / "trajc.db", FolderBlobs(folder / "blobs", fsync=False)) as store:
        async with (
            Transport() as http,
            Pool("m", [Endpoint(f"http://127.0.0.1:{port}/v1", slots=64)], http=http) as pool,
        ):
            journals = FolderJournals(folder / "journals")
            handler = RolloutHandler(store, {"pages": Pages(2000)}, lambda _: pool, journals=journals)
            engine = Engine(store, {"rollout": handler}, "w1", {"rollout": 64})
            working = asyncio.create_task(engine.run())
            for _ in range(rounds):
                rows = [
                    TaskRow(
                        Task(id=f"t{i}", environment="pages", question=f"Page {i}?", limits=Limits(max_turns=2)),
                        Reference(),
                    )
                    for i in range(rollouts)
                ]
                run = store.create_run(RunSpec(environment="pages", model="m"), rows).id
                await until(lambda run=run: store.run(run).finished is not None)  # type: ignore[misc]
                assert store.accounts(run).succeeded == rollouts
                gc.collect()
                held.append(resident())
            engine.stop()
            await working
    return held


if __name__ == "__main__":
    with endpoint() as at:
        print(json.dumps(asyncio.run(work(Path(sys.argv[1]), at, int(sys.argv[2]), int(sys.argv[3])))))
