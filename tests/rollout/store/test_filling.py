"""Evidence is completed after the agent has ended, and what goes wrong there costs no rollout."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from envs.blobs import blob_of
from envs.environment import Environment, Filled, Session
from envs.evidence import SNIPPET, Evidence
from envs.score import Score, Submission
from envs.task import Reference, Task
from envs.tool import ToolResult
from rollout.engine import Done
from rollout.scripted import ScriptedModel, call
from rollout.store import Store
from rollout.trajectory import Mark
from rollout.worker import RolloutHandler

SCRIPT = [call("echo", {"text": "one"}), call("echo", {"text": "two"}), call("submit")]


def piece(source: str) -> Evidence:
    return Evidence(kind="document", source=source, version="", how="listed", coverage=SNIPPET, blob=None)


class Listing:
    """The echo environment's session, which lists a document for each word that it is told."""

    def __init__(self, session: Session) -> None:
        self.session = session

    async def call(self, tool: str, arguments: Any) -> ToolResult:
        result = await self.session.call(tool, arguments)
        found = (piece(arguments.text),) if tool == "echo" else ()
        return result.model_copy(update={"evidence": found})

    async def submission(self) -> Submission | None:
        return await self.session.submission()

    async def close(self) -> None:
        await self.session.close()


class Library:
    """The echo environment with documents, and something that it does with them afterwards."""

    def __init__(self, inner: Environment, fault: str = "") -> None:
        self.inner, self.fault = inner, fault
        self.name, self.tools = inner.name, inner.tools
        self.system_prompt, self.takes_text = inner.system_prompt, inner.takes_text
        self.closed_before_filling: list[bool] = []

    def prompt(self, task: Task) -> str:
        return self.inner.prompt(task)

    def pin(self, task: Task, reference: Reference | None) -> tuple[Task, Reference | None]:
        return self.inner.pin(task, reference)

    async def start(self, task: Task, owner: Mapping[str, str]) -> Session:
        return Listing(await self.inner.start(task, owner))

    async def score(self, task: Task, reference: Reference, submission: Submission) -> Score:
        return await self.inner.score(task, reference, submission)

    async def close(self) -> None:
        await self.inner.close()

    async def fill(self, pieces: Sequence[Evidence]) -> Filled:
        self.closed_before_filling.append("closed" in self.inner.logs[-1])  # type: ignore[attr-defined]
        match self.fault:
            case "raises":
                raise RuntimeError("no network")
            case "loses one":
                return Filled(tuple(pieces)[1:], "done")
            case "nothing":
                return Filled(tuple(pieces), "")
        return Filled(tuple(p.model_copy(update={"blob": blob_of(p.source.encode())}) for p in pieces), "2 of 2")


async def played(store: Store, kit: Any, environment: Library) -> Done:
    store.create_run(kit.spec, kit.rows(1))
    (mine,) = store.claim("w", ["rollout"], 1, store.now(), 60)
    done = await RolloutHandler(store, {"echo": environment}, lambda _: ScriptedModel(SCRIPT))(mine)
    assert isinstance(done, Done)
    return done


async def test_evidence_is_completed_once_the_session_is_closed(store: Store, kit: Any, echo: Any) -> None:
    library = Library(echo)
    done = await played(store, kit, library)
    assert done.trajectory is not None
    assert [(p.source, p.blob) for _, p in done.trajectory.evidence] == [
        ("one", blob_of(b"one")),
        ("two", blob_of(b"two")),
    ]
    assert done.trajectory.marks == (Mark(kind="filled", words="2 of 2", at_call=3),)
    assert library.closed_before_filling == [True]
    assert done.score is not None


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("raises", "evidence could not be completed: RuntimeError: no network"),
        ("loses one", "evidence could not be completed: ValueError: 1 pieces of evidence came back for 2"),
        ("nothing", None),
    ],
)
async def test_what_goes_wrong_afterwards_costs_no_rollout(
    store: Store, kit: Any, echo: Any, fault: str, words: str | None
) -> None:
    done = await played(store, kit, Library(echo, fault))
    assert done.trajectory is not None
    assert [p for _, p in done.trajectory.evidence] == [piece("one"), piece("two")]
    assert done.trajectory.marks == (() if words is None else (Mark(kind="filled", words=words, at_call=3),))
    assert done.score is not None
