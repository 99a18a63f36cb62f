"""A sample is asked for once: what was replied is kept before it is scored, and scored again for nothing."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import sqlalchemy as sa

from api.generation import GenerationHandler, Order
from api.service import Service
from envs.environment import Environment
from envs.errors import SandboxError
from envs.score import Score, Submission
from envs.task import Reference, Task
from rollout.admission import Admission
from rollout.engine import Broken, Done
from rollout.model import ContextLengthExceeded, Conversation, Model, Reply
from rollout.runs import Claim
from rollout.scripted import say
from rollout.trajectory import Source, Trajectory

JOB = "gen_" + "a" * 40 + "1" * 16


@dataclass
class Asked:
    """A model that gives one reply and counts."""

    answer: Reply | Exception
    name: str = "m"
    times: int = 0

    def __call__(self, model: str, base_urls: Sequence[str]) -> Model:
        assert (model, tuple(base_urls)) == ("m", ("http://h/v1",))
        return self

    async def complete(self, conversation: Conversation, sampling: dict[str, Any]) -> Reply:
        assert (conversation.messages[0].content, sampling) == ("the prompt", {"seed": 1})
        self.times += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@dataclass
class Scorer:
    """Breaks as often as `broken` says, then compares."""

    broken: int = 0
    name: str = "search"

    async def score(self, task: Task, reference: Reference, submission: Submission) -> Score:
        assert task.id == "t"
        if self.broken:
            self.broken -= 1
            raise SandboxError("the sandbox went away")
        right = submission.text == reference.data["answer"]
        return Score(scorer="s", version="1", value=float(right), verdict="right" if right else "wrong")


def handler(service: Service, model: Asked, scorer: Any) -> GenerationHandler:
    environments: dict[str, Environment] = {"search": scorer}
    return GenerationHandler(service.store, service.blobs, environments, model, Admission())


def claimed(service: Service) -> Claim:
    task = Task(id="t", environment="search", question="?", world={"corpus": "c"})
    source = Source(kind="imported")
    trajectory = Trajectory(
        id="traj", run="", rollout="", attempt=1, task=task, model="x", stop="answered", source=source
    )
    service.store.save_trajectory(trajectory, Reference(data={"answer": "42"}))
    order = Order(
        trajectory="traj",
        prompt=service.blobs.put(b"the prompt").hash,
        answer_kind="text",
        model="m",
        base_urls=("http://h/v1",),
        sampling={"seed": 1},
    )
    service.store.order("generation", {JOB: order.model_dump(mode="json")})
    return taken(service)


def taken(service: Service) -> Claim:
    (claim,) = service.store.claim("w", ["generation"], 1, service.store.now() + 3600, 60)
    return claim


@pytest.mark.parametrize(
    ("reply", "right", "words"),
    [
        (say("42", reasoning="Thought."), True, "right: "),
        (say("43"), False, "wrong: "),
        (say("42", finish_reason="length"), False, "no text to score (finish reason length)"),
        (say(""), False, "no text to score (finish reason stop)"),
        (ContextLengthExceeded("too long"), False, "no text to score (finish reason context_length)"),
    ],
)
async def test_a_reply_is_right_when_the_environment_says_so(
    service: Service, reply: Reply | Exception, right: bool, words: str
) -> None:
    outcome = await handler(service, Asked(reply), Scorer())(claimed(service))
    assert isinstance(outcome, Done)
    assert outcome.result is not None
    assert (outcome.result["right"], outcome.result["words"]) == (right, words)


async def test_a_scorer_that_breaks_costs_no_second_reply(service: Service) -> None:
    model = Asked(say("42"))
    work = handler(service, model, Scorer(broken=1))
    claim = claimed(service)
    with pytest.raises(SandboxError):
        await work(claim)
    service.store.fail(claim, "sandbox_error", "the sandbox went away")
    outcome = await work(taken(service))
    assert isinstance(outcome, Done)
    assert (outcome.result or {})["right"]
    assert model.times == 1


async def test_a_reply_that_comes_while_the_database_is_away_is_kept_once_it_is_back(service: Service) -> None:
    def rename(old: str, new: str) -> None:
        with service.store.engine.begin() as c:
            c.execute(sa.text(f"alter table {old} rename to {new}"))

    @dataclass
    class AskedMeanwhile(Asked):
        async def complete(self, conversation: Conversation, sampling: dict[str, Any]) -> Reply:
            rename("jobs", "jobs_away")
            asyncio.get_running_loop().call_later(0.5, rename, "jobs_away", "jobs")
            return await super().complete(conversation, sampling)

    model = AskedMeanwhile(say("42"))
    claim = claimed(service)
    outcome = await handler(service, model, Scorer())(claim)
    assert isinstance(outcome, Done)
    assert service.store.job(claim.job).result == {"reply": (outcome.result or {})["reply"]}
    assert model.times == 1


async def test_what_cannot_be_scored_is_said(service: Service) -> None:
    work = GenerationHandler(service.store, service.blobs, {}, Asked(say("42")), Admission())
    outcome = await work(claimed(service))
    assert isinstance(outcome, Broken)
    assert (outcome.permanent, "environment 'search'" in outcome.words) == (True, True)


async def test_a_new_version_of_the_scorer_judges_the_kept_reply(service: Service) -> None:
    """And what asks otherwise is asked, however alike it is."""
    model = Asked(say("43"))
    work = handler(service, model, Scorer())
    claim = claimed(service)
    service.store.finish(claim, result=(await work(claim)).result)  # type: ignore[union-attr]
    same, other = JOB[:-16] + "2" * 16, JOB[:-17] + "b" + "2" * 16
    service.store.order("generation", {same: claim.payload, other: claim.payload})
    model.answer = say("42")
    for job, right, times in ((same, False, 1), (other, True, 2)):
        (again,) = service.store.claim("w", ["generation"], 1, service.store.now(), 60)
        outcome = await work(again)
        assert isinstance(outcome, Done)
        assert (again.job, (outcome.result or {})["right"], model.times) == (job, right, times)
