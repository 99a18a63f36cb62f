"""A rollout whose worker died goes on from its journal: nothing is paid twice, and nothing is made up."""

import asyncio
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from envs.task import Task
from rollout.engine import Done
from rollout.journal import Earlier, FolderJournals, read_journal
from rollout.model import Conversation, Reply
from rollout.packed import Turn
from rollout.record import Identity, Record
from rollout.replay import ReplayedModel, mask
from rollout.runs import Claim
from rollout.scripted import ScriptedModel, call
from rollout.store import Store
from rollout.trajectory import Mark, Message, ModelCall
from rollout.worker import RolloutHandler

SCRIPT = [call("echo", {"text": word}) for word in ("one", "two", "three")] + [call("submit")]


class CountingModel(ScriptedModel):
    """Counts the calls that it is paid for; dies in place of the one that `dies_at` names."""

    def __init__(self, dies_at: int | None = None) -> None:
        super().__init__(SCRIPT)
        self.paid = 0
        self.dies_at = dies_at
        self.hanging = asyncio.Event()

    async def complete(self, conversation: Conversation, sampling: dict[str, Any]) -> Reply:
        if self.paid == self.dies_at:
            self.hanging.set()
            await asyncio.Event().wait()  # never answers: the worker is killed meanwhile
        self.paid += 1
        return await super().complete(conversation, sampling)


def turn(index: int, said: str = "hello") -> Turn:
    model_call = ModelCall(input=((0, 2 + index),), output=2 + index, raw="{}")
    return Turn(index=index, call=model_call, messages=(Message(role="assistant", content=said),))


@pytest.fixture
def journals(tmp_path: Path) -> FolderJournals:
    return FolderJournals(tmp_path / "journals")


def claim(store: Store) -> Claim:
    (mine,) = store.claim("w", ["rollout"], 1, store.now(), 60)
    return mine


async def killed(handler: RolloutHandler, mine: Claim, model: CountingModel) -> None:
    """Work on it until the model hangs, then lose the worker: nobody hears of what it did."""
    work = asyncio.create_task(handler(mine))
    await model.hanging.wait()
    work.cancel()
    await asyncio.wait([work])


@pytest.mark.parametrize("dies_at", [0, 1, 3])
async def test_a_second_attempt_pays_only_for_what_the_first_did_not(
    store: Store, kit: Any, clock: Any, echo: Any, journals: FolderJournals, dies_at: int
) -> None:
    first_model, second_model = CountingModel(dies_at), CountingModel()
    store.create_run(kit.spec, kit.rows(1))
    first = claim(store)
    await killed(RolloutHandler(store, {"echo": echo}, lambda _: first_model, journals=journals), first, first_model)
    clock.now += 61
    store.reap_expired(clock.now)
    done = await RolloutHandler(store, {"echo": echo}, lambda _: second_model, journals=journals)(claim(store))
    assert isinstance(done, Done)
    assert done.trajectory is not None
    assert first_model.paid + second_model.paid == len(SCRIPT)
    assert [s.result.text for s in done.trajectory.steps] == ["one", "two", "three", "Handed in."]
    resumed = (Mark(kind="resumed", words=f"{dies_at} turns were replayed", at_call=dies_at),)
    assert done.trajectory.marks == (resumed if dies_at else ())
    assert echo.logs == [[*["one", "two", "three"][:dies_at], "closed"], ["one", "two", "three", "closed"]]
    assert done.then is not None
    done.then()
    assert journals.rollouts() == {}


async def test_a_resumed_trajectory_equals_one_that_ran_through(
    store: Store, kit: Any, clock: Any, echo: Any, journals: FolderJournals
) -> None:
    store.create_run(kit.spec, kit.rows(1))
    through = await RolloutHandler(store, {"echo": echo}, lambda _: CountingModel())(claim(store))
    clock.now += 61
    store.reap_expired(clock.now)
    model = CountingModel(2)
    await killed(RolloutHandler(store, {"echo": echo}, lambda _: model, journals=journals), claim(store), model)
    clock.now += 61
    store.reap_expired(clock.now)
    resumed = await RolloutHandler(store, {"echo": echo}, lambda _: CountingModel(), journals=journals)(claim(store))
    assert isinstance(through, Done)
    assert isinstance(resumed, Done)
    assert through.trajectory is not None
    assert resumed.trajectory is not None
    assert resumed.trajectory.hash == through.trajectory.hash


async def test_a_world_that_answers_otherwise_starts_the_rollout_anew_and_says_so(
    store: Store, kit: Any, clock: Any, echo: Any, journals: FolderJournals
) -> None:
    store.create_run(kit.spec, kit.rows(1))
    first_model, second_model = CountingModel(3), CountingModel()
    await killed(
        RolloutHandler(store, {"echo": echo}, lambda _: first_model, journals=journals), claim(store), first_model
    )
    path = next(journals.root.glob("*.1.jsonl"))
    path.write_text(path.read_text().replace('"content":"two"', '"content":"tow"'))
    clock.now += 61
    store.reap_expired(clock.now)
    done = await RolloutHandler(store, {"echo": echo}, lambda _: second_model, journals=journals)(claim(store))
    assert isinstance(done, Done)
    assert done.trajectory is not None
    (mark,) = done.trajectory.marks
    assert (mark.kind, mark.at_call) == ("restarted", 1)
    assert mark.words.startswith("turn 1 differs: ")
    assert mark.words.endswith("; 3 model calls were paid again")
    assert second_model.paid == len(SCRIPT)
    assert len(journals.earlier(done.trajectory.rollout, 99).turns) == len(SCRIPT)


async def test_a_rollout_that_started_anew_still_says_so_after_another_worker_died(
    store: Store, kit: Any, clock: Any, echo: Any, journals: FolderJournals
) -> None:
    store.create_run(kit.spec, kit.rows(1))
    models = [CountingModel(3), CountingModel(2), CountingModel()]
    handlers = [RolloutHandler(store, {"echo": echo}, lambda _, m=m: m, journals=journals) for m in models]  # type: ignore[misc]
    await killed(handlers[0], claim(store), models[0])
    path = next(journals.root.glob("*.1.jsonl"))
    path.write_text(path.read_text().replace('"content":"two"', '"content":"tow"'))
    clock.now += 61
    store.reap_expired(clock.now)
    await killed(handlers[1], claim(store), models[1])
    clock.now += 61
    store.reap_expired(clock.now)
    done = await handlers[2](claim(store))
    assert isinstance(done, Done)
    assert done.trajectory is not None
    assert [(mark.kind, mark.at_call) for mark in done.trajectory.marks] == [("restarted", 1), ("resumed", 2)]
    assert done.trajectory.marks[0].words.endswith("; 3 model calls were paid again")
    assert models[2].paid == len(SCRIPT) - 2


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ("4 passed in 0.12s", "4 passed in 11.3s"),
        ("real 0m0.004s", "real 1m2.104s"),
        ("-rw-r--r-- 1 root 12 Jan  3 10:22 a.py", "-rw-r--r-- 1 root 12 Nov 22 09:01 a.py"),
        ("Mon Nov 23 23:59:59 UTC 2026", "Tue Nov 24 00:00:01 UTC 2026"),
        ("Thu 31 Dec 2026 11:59:59 PM CET", "Fri 01 Jan 2027 12:00:01 AM CEST"),
        ("Date:   Sun May 31 08:00:00 2026 +0200", "Date:   Mon Jun 1 09:00:00 2026 +0200"),
        ("Date: Thu, 31 Dec 2026 23:59:59 GMT", "Date: Fri, 01 Jan 2027 00:00:00 GMT"),
        ("2026-11-22T17:00:01.5Z INFO", "2026-11-23T18:10:59.1Z INFO"),
        ("started, pid 4711", "started, pid 9"),
        ("root@0123456789ab:/testbed#", "root@ba9876543210:/testbed#"),
        ("<object at 0x7f8934eb2d0>", "<object at 0x7f00000b2d0>"),
    ],
)
def test_what_changes_by_itself_is_masked(before: str, now: str) -> None:
    assert before != now
    assert mask(before) == mask(now)


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ("4 passed in 0.12s", "3 passed in 0.12s"),
        ("-rw-r--r-- 1 root 12 Jan  3 10:22 a.py", "-rw-r--r-- 1 root 13 Jan  3 10:22 a.py"),
        ("-rw-r--r-- 1 root 12 Jan  3  2024 a.py", "-rw-r--r-- 1 root 13 Jan  3  2024 a.py"),
        ("-rw-r--r-- 1 root 12 Jan  3 10:22 2048", "-rw-r--r-- 1 root 12 Jan  3 10:22 4096"),
        ("Mon Nov 23 10:22:01 WARN", "Mon Nov 23 10:22:01 FAIL"),
        ("line 12", "line 21"),
        ("abc123", "abc124"),
    ],
)
def test_what_the_agent_caused_is_not_masked(before: str, now: str) -> None:
    assert mask(before) != mask(now)


@pytest.mark.parametrize("fsync", [False, True])
async def test_turns_come_back_in_order_up_to_a_torn_end(tmp_path: Path, fsync: bool) -> None:
    journals = FolderJournals(tmp_path, fsync=fsync)
    open_ones = [journals.open(f"ro_{i}", 1) for i in range(5)]
    for index in range(3):
        await asyncio.gather(*(journal.turn(turn(index)) for journal in open_ones))
    for journal in open_ones:
        journal.close()
    whole = tuple(turn(index) for index in range(3))
    assert [journals.earlier(f"ro_{i}", 2) for i in range(5)] == [Earlier(whole)] * 5
    path = tmp_path / "ro_0.1.jsonl"
    path.write_bytes(path.read_bytes()[:-5])
    assert read_journal(path) == Earlier(whole[:2])
    path.write_bytes(path.read_bytes().replace(b'"index":1', b'"index":2'))
    assert read_journal(path) == Earlier(whole[:1])  # a turn is missing: nothing after the gap is believed


@pytest.mark.parametrize("line", ["7", "[]", "null", '{"index":1,"finished":null,"messages":[]}', '{"mark":3}'])
async def test_a_journal_with_a_line_that_is_no_turn_is_believed_up_to_it(journals: FolderJournals, line: str) -> None:
    journal = journals.open("ro_1", 1)
    await journal.turn(turn(0))
    journal.close()
    with (journals.root / "ro_1.1.jsonl").open("a") as file:
        file.write(line + "\n")
    assert journals.earlier("ro_1", 2) == Earlier((turn(0),))


async def test_the_longest_earlier_journal_counts(journals: FolderJournals) -> None:
    for attempt, length in ((1, 2), (2, 3), (3, 1), (4, 5)):
        journal = journals.open("ro_1", attempt)
        for index in range(length):
            await journal.turn(turn(index, f"attempt {attempt}"))
        journal.close()
    assert journals.earlier("ro_1", 4) == Earlier(tuple(turn(index, "attempt 2") for index in range(3)))
    assert journals.rollouts() == {"ro_1": 4}
    journals.forget("ro_1", 3)
    assert journals.earlier("ro_1", 4) == Earlier()
    assert len(journals.earlier("ro_1", 5).turns) == 5


def test_a_turn_survives_sigkill(tmp_path: Path) -> None:
    program = """
import asyncio, os, signal, sys, pathlib
from rollout.journal import FolderJournals
from rollout.packed import Turn
from rollout.trajectory import Message, ModelCall
async def main():
    journal = FolderJournals(pathlib.Path(sys.argv[1])).open("ro_1", 1)
    for index in range(3):
        call = ModelCall(input=((0, 2 + index),), output=2 + index, raw="{}")
        await journal.turn(Turn(index=index, call=call, messages=(Message(role="assistant", content="hello"),)))
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""
    ended = subprocess.run([sys.executable, "-c", program, tmp_path], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert FolderJournals(tmp_path).earlier("ro_1", 2).turns == tuple(turn(index) for index in range(3))


async def test_token_ids_are_the_same_after_a_replay() -> None:
    """The record leaves out the tokens that a prompt shares with the call before; a replay puts them back."""
    prompts = ((1, 2), (1, 2, 3, 4), (1, 9))
    replies = [
        replace(line, prompt_token_ids=prompt, output_token_ids=(3,))
        for line, prompt in zip(SCRIPT, prompts, strict=False)
    ]

    async def record_of(model: Any) -> Record:
        task = Task(id="t", environment="echo", question="?")
        record = Record(task, Identity("run", "ro", 1, "tr"), "parrot", now=lambda: 0.0)
        for _ in prompts:
            record.heard(await model.complete(record.conversation, {}), {})
        return record

    first = await record_of(ScriptedModel(replies))
    turns = tuple(
        Turn(index=i, call=c, messages=(first.conversation.messages[c.output],)) for i, c in enumerate(first.calls)
    )
    again = await record_of(ReplayedModel(ScriptedModel(()), turns))
    assert again.calls == first.calls


def test_journals_of_ended_rollouts_are_swept(store: Store, kit: Any, echo: Any, journals: FolderJournals) -> None:
    run = store.create_run(kit.spec, kit.rows(3))
    done, failed, _ = store.claim("w", ["rollout"], 3, store.now(), 60)
    store.finish(done, kit.trajectory(store, done))
    store.fail(failed, "task_error", "broke")
    ids = [rollout.id for rollout in store.rollouts(run=run.id).items]
    for id in (*ids, "ro_unknown"):
        journals.open(id, 1).close()
    RolloutHandler(store, {"echo": echo}, lambda _: ScriptedModel(), journals=journals).sweep()
    assert sorted(journals.rollouts()) == sorted(id for id in ids if id != done.job)
