"""A world that outlives its worker is taken up where it stood, and only where that is certain."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from envs.adoption import NotAdopted
from envs.task import Task
from envs.tool import ToolResult
from rollout.adoption import SPARE_SECONDS, WAIT_SECONDS, spared
from rollout.engine import Broken, Done
from rollout.journal import Earlier, FolderJournals, read_journal
from rollout.model import Conversation, ModelError, Reply
from rollout.runs import Claim
from rollout.scripted import ScriptedModel, call
from rollout.store import Store
from rollout.trajectory import Trajectory
from rollout.worker import RolloutHandler
from tests.rollout.conftest import EchoEnvironment, EchoSession

WORDS = ("one", "two", "three")
SCRIPT = [call("echo", {"text": word}) for word in WORDS] + [call("submit")]


class Killed(BaseException):
    """The worker dies here: nothing after it happens, not even cleaning up."""


class DyingModel(ScriptedModel):
    def __init__(self, dies_at: int | None = None) -> None:
        super().__init__(SCRIPT)
        self.paid, self.dies_at = 0, dies_at

    async def complete(self, conversation: Conversation, sampling: dict[str, Any]) -> Reply:
        if self.paid == self.dies_at:
            raise Killed
        self.paid += 1
        return await super().complete(conversation, sampling)


@dataclass
class LastingSession(EchoSession):
    """Its log is the world: it stays when the session is not closed. Dies in the call that says `dies_at`."""

    id: int = 0
    dies_at: str | None = None
    dead: bool = False

    def standing(self) -> dict[str, Any] | None:
        return {"world": self.id}

    async def call(self, tool: str, arguments: Any) -> ToolResult:
        if self.dies_at is not None and getattr(arguments, "text", None) == self.dies_at:
            self.log.append("half of " + arguments.text)
            self.dead = True
            raise Killed
        return await super().call(tool, arguments)

    async def close(self) -> None:
        if not self.dead:
            await super().close()


@dataclass
class LastingEnvironment(EchoEnvironment):
    dies_at: str | None = None
    refuses: str = ""
    sessions: list[LastingSession] = field(default_factory=list)

    async def start(self, task: Task, owner: Mapping[str, str]) -> LastingSession:  # noqa: ARG002
        self.logs.append([])
        self.sessions.append(LastingSession(self.logs[-1], len(self.logs) - 1, self.dies_at))
        return self.sessions[-1]

    async def adopt(self, task: Task, owner: Mapping[str, str], standing: Mapping[str, Any]) -> LastingSession:  # noqa: ARG002
        if self.refuses:
            raise NotAdopted(self.refuses)
        return LastingSession(self.logs[standing["world"]], standing["world"])

    async def abandon(self, standing: Mapping[str, Any]) -> None:
        self.logs[standing["world"]].append("abandoned")


@pytest.fixture
def journals(tmp_path: Path) -> FolderJournals:
    return FolderJournals(tmp_path / "journals")


def claim(store: Store) -> Claim:
    (mine,) = store.claim("w", ["rollout"], 1, store.now(), 60)
    return mine


async def worked(
    store: Store, environment: LastingEnvironment, journals: FolderJournals, model: DyingModel
) -> Trajectory | None:
    """One attempt; None where its worker died in the middle."""
    handler = RolloutHandler(store, {"echo": environment}, lambda _: model, journals=journals)
    mine = claim(store)
    try:
        done = await handler(mine)
    except Killed:
        return None
    assert isinstance(done, Done)
    return done.trajectory


async def killed_then_done(
    store: Store, kit: Any, clock: Any, environment: LastingEnvironment, journals: FolderJournals, *models: DyingModel
) -> Trajectory:
    store.create_run(kit.spec, kit.rows(1))
    for model in models[:-1]:
        if model.dies_at is not None:
            for session in environment.sessions:
                session.dead = True
        assert await worked(store, environment, journals, model) is None
        for log in environment.logs:
            if log and log[-1] == "closed":
                log.pop()  # a dead worker closes nothing
        environment.dies_at = None
        clock.now += 61
        store.reap_expired(clock.now)
    trajectory = await worked(store, environment, journals, models[-1])
    assert trajectory is not None
    return trajectory


@pytest.mark.parametrize("dies_at", [0, 1, 3])
async def test_an_adopted_session_is_called_only_for_what_is_new(
    store: Store, kit: Any, clock: Any, journals: FolderJournals, dies_at: int
) -> None:
    environment, models = LastingEnvironment(), (DyingModel(dies_at), DyingModel())
    trajectory = await killed_then_done(store, kit, clock, environment, journals, *models)
    assert environment.logs == [[*WORDS, "closed"]], "one world, each call once"
    assert [step.result.text for step in trajectory.steps] == [*WORDS, "Handed in."]
    assert sum(model.paid for model in models) == len(SCRIPT)
    words = f"the session was adopted after {dies_at} turns; none of its tool calls was made again"
    assert [(mark.kind, mark.words, mark.at_call) for mark in trajectory.marks] == [("adopted", words, dies_at)]


async def test_a_session_is_adopted_from_one_adopter_to_the_next(
    store: Store, kit: Any, clock: Any, journals: FolderJournals
) -> None:
    environment, models = LastingEnvironment(), (DyingModel(1), DyingModel(1), DyingModel(1), DyingModel())
    trajectory = await killed_then_done(store, kit, clock, environment, journals, *models)
    assert environment.logs == [[*WORDS, "closed"]]
    assert trajectory.marks[0].at_call == 3


async def test_a_worker_killed_in_the_middle_of_a_tool_call_has_its_rollout_replayed_in_a_fresh_session(
    store: Store, kit: Any, clock: Any, journals: FolderJournals
) -> None:
    environment, models = LastingEnvironment(dies_at="two"), (DyingModel(), DyingModel())
    trajectory = await killed_then_done(store, kit, clock, environment, journals, *models)
    assert environment.logs == [["one", "half of two", "abandoned"], [*WORDS, "closed"]]
    (mark,) = trajectory.marks
    assert (mark.kind, mark.words) == (
        "resumed",
        "1 turns were replayed; the session was not adopted: a tool call was under way, or nothing was noted of it",
    )
    assert sum(model.paid for model in models) == len(SCRIPT) + 1, "the turn in flight"


async def test_a_session_that_cannot_be_taken_up_is_removed_and_replayed(
    store: Store, kit: Any, clock: Any, journals: FolderJournals
) -> None:
    environment = LastingEnvironment(refuses="it has ended")
    trajectory = await killed_then_done(store, kit, clock, environment, journals, DyingModel(2), DyingModel())
    assert environment.logs == [["one", "two", "abandoned"], [*WORDS, "closed"]]
    assert trajectory.marks[0].words == "2 turns were replayed; the session was not adopted: it has ended"


async def test_a_replay_that_is_killed_in_its_middle_leaves_nothing_that_is_taken_for_the_whole(
    store: Store, kit: Any, clock: Any, journals: FolderJournals
) -> None:
    """Its fresh session stands where the replay was, and not where the first attempt's journal ended."""
    environment = LastingEnvironment(refuses="it has ended")
    store.create_run(kit.spec, kit.rows(1))
    assert await worked(store, environment, journals, DyingModel(2)) is None
    clock.now += 61
    store.reap_expired(clock.now)
    environment.dies_at = "one"
    assert await worked(store, environment, journals, DyingModel()) is None
    (second,) = journals.root.glob("*.2.jsonl")
    assert read_journal(second).standing is None
    environment.dies_at, environment.refuses = None, ""
    clock.now += 61
    store.reap_expired(clock.now)
    trajectory = await worked(store, environment, journals, DyingModel())
    assert trajectory is not None
    assert environment.logs[-1] == [*WORDS, "closed"]
    assert trajectory.marks[0].kind == "resumed"


async def test_the_last_word_of_a_journal_counts(journals: FolderJournals) -> None:
    journal = journals.open("ro_1", 1)
    assert journals.earlier("ro_1", 2) == Earlier()
    journal.stands({"a": 1})
    assert journals.earlier("ro_1", 2) == Earlier((), {"a": 1}, {"a": 1})
    journal.calling()
    assert journals.earlier("ro_1", 2) == Earlier((), None, {"a": 1})
    journal.close()


def test_a_dead_attempt_s_world_is_spared_until_its_successor_had_time_to_take_it_up(
    store: Store, kit: Any, clock: Any
) -> None:
    store.create_run(kit.spec, kit.rows(1))
    first = claim(store)

    def is_spared(attempt: int) -> bool:
        return spared(store.rollout(first.job), attempt, store.now())

    assert [is_spared(1), is_spared(2)] == [True, False]
    clock.now += 61
    store.reap_expired(clock.now)
    assert is_spared(1), "nobody has claimed it again"
    clock.now += WAIT_SECONDS
    assert not is_spared(1), "and nobody will soon"
    second = claim(store)
    assert [is_spared(1), is_spared(2)] == [True, True]
    clock.now += SPARE_SECONDS
    store.renew([second], clock.now, 60)
    assert [is_spared(1), is_spared(2)] == [False, True]
    store.fail(second, "task_error", str(ModelError("broke")))
    assert [is_spared(1), is_spared(2)] == [False, False]


async def test_a_session_of_which_nothing_can_be_noted_is_closed(
    store: Store, kit: Any, journals: FolderJournals
) -> None:
    store.create_run(kit.spec, kit.rows(1))
    mine, environment = claim(store), LastingEnvironment()
    journals.root.mkdir()
    (journals.root / f"{mine.job}.1.jsonl").symlink_to("/dev/full")
    outcome = await RolloutHandler(store, {"echo": environment}, lambda _: DyingModel(), journals=journals)(mine)
    assert isinstance(outcome, Broken)
    assert (outcome.failure, "No space left on device" in outcome.words) == ("environment_error", True)
    assert environment.logs == [["closed"]]
