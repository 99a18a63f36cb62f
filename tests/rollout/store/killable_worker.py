"""A worker to be killed: `python killable_worker.py DATABASE FOLDER NAME`. Its environment counts; its model notes
each call that it is paid for in FOLDER/paid, one line `ROLLOUT TURN`, as an endpoint would."""

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from envs.score import Score, Submission
from envs.task import Reference, Task
from envs.tool import ToolResult, ToolSpec
from rollout.blobs import FolderBlobs
from rollout.engine import Engine, Timing
from rollout.journal import FolderJournals
from rollout.model import Conversation, Reply
from rollout.scripted import call
from rollout.store import Store
from rollout.worker import RolloutHandler

TURNS = 8


class Nothing(BaseModel):
    pass


class CountSession:
    def __init__(self) -> None:
        self.count = 0

    async def call(self, tool: str, arguments: Any) -> ToolResult:  # noqa: ARG002
        self.count += 1
        await asyncio.sleep(0.02)
        if tool == "submit":
            return ToolResult(text="Done.", submission=Submission(kind="text", text=str(self.count)))
        return ToolResult(text=str(self.count), seconds=0.02)

    async def submission(self) -> Submission | None:
        return None

    async def close(self) -> None:
        pass


class CountEnvironment:
    name = "count"
    system_prompt = "Count."
    takes_text = False
    tools: Sequence[ToolSpec] = (ToolSpec("next", "Count on", Nothing), ToolSpec("submit", "End", Nothing))

    def prompt(self, task: Task) -> str:
        return task.question

    def pin(self, task: Task, reference: Reference | None) -> tuple[Task, Reference | None]:
        return task, reference

    async def start(self, task: Task, owner: Mapping[str, str]) -> CountSession:  # noqa: ARG002
        return CountSession()

    async def score(self, task: Task, reference: Reference, submission: Submission) -> Score:  # noqa: ARG002
        right = submission.text == str(TURNS)
        return Score(scorer="count", version="1", value=float(right), verdict="right" if right else "wrong")

    async def close(self) -> None:
        pass


class PaidModel:
    name = "paid"

    def __init__(self, folder: Path) -> None:
        self._note = os.open(folder / "paid", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._free = folder / "free"
        """Before it is there no rollout ends."""

    async def complete(self, conversation: Conversation, sampling: dict[str, Any]) -> Reply:  # noqa: ARG002
        turn = sum(message.role == "assistant" for message in conversation.messages)
        while turn == TURNS - 1 and not self._free.exists():  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.02)
        os.write(self._note, f"{conversation.key} {turn}\n".encode())
        await asyncio.sleep(0.1)
        return call("submit" if turn == TURNS - 1 else "next")


async def main(database: str, folder: Path, name: str) -> None:
    model = PaidModel(folder)
    with Store.open(database, FolderBlobs(folder / "blobs", fsync=False)) as store:
        handler = RolloutHandler(
            store, {"count": CountEnvironment()}, lambda _: model, journals=FolderJournals(folder / "journals")
        )
        await Engine(store, {"rollout": handler}, name, {"rollout": 4}, Timing(lease=3.0, poll=0.1)).run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))
