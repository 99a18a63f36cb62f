"""One sample as a job: a model call over a prompt, its reply scored by the environment's own scorer.

The reply is kept with the job before it is scored, so that neither a fault of the scorer nor the death of the process
has it paid again; nor has a new version of the scorer, whose job takes the reply from the old one's.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from compiler.example import AnswerKind
from compiler.reply import answer_of
from envs.blobs import BlobStore
from envs.environment import Environment
from envs.errors import EnvironmentFailure, boundary
from envs.frozen import Frozen
from rollout.admission import Admission
from rollout.engine import Broken, Done, Outcome
from rollout.model import ContextLengthExceeded, Conversation, Model, ModelError
from rollout.patience import patiently
from rollout.runs import Candidate, Claim
from rollout.store import Store
from rollout.trajectory import Message

REPLY_MEDIA_TYPE = "application/vnd.trajc.reply+json"
ASKED_DIGITS, JUDGED_DIGITS = len("gen_") + 40, 16
"""The two halves of a job's id (`api.asking.name_of`)."""


class Order(Frozen):
    """What is asked: the job's payload."""

    trajectory: str
    """Whose task and reference score the answer."""
    prompt: str
    """The prompt's blob."""
    answer_kind: AnswerKind
    model: str
    base_urls: tuple[str, ...]
    sampling: dict[str, Any]
    compilation: str | None = None
    """Who ordered it first."""
    run: str | None = None
    """For whose compilation it was ordered ahead."""


class Said(Frozen):
    """A reply, as it is kept in a blob."""

    content: str = ""
    reasoning: str | None = None
    finish_reason: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    endpoint: str = ""


class GenerationHandler:
    """`models` gives the model of a name behind base URLs.

    The job's result is `{"reply": blob, "right": whether it is, "words": why}`.
    """

    def __init__(
        self,
        store: Store,
        blobs: BlobStore,
        environments: Mapping[str, Environment],
        models: Callable[[str, Sequence[str]], Model],
        admission: Admission,
    ) -> None:
        self.store = store
        self.blobs = blobs
        self.environments = environments
        self.models = models
        self.admission = admission

    async def __call__(self, claim: Claim) -> Outcome:
        order = Order.model_validate(claim.payload)
        blob = await patiently(lambda: asyncio.to_thread(self.kept, claim.job), claim.job)
        if blob is None:
            said = await self.ask(claim.job, order)
            # To give up would be to pay for the reply again.
            blob = await patiently(lambda: asyncio.to_thread(self.keep, claim, said), claim.job)
        else:
            said = Said.model_validate_json(await asyncio.to_thread(self.blobs.get, blob))
        return await self.scored(order, said, blob)

    async def ask(self, job: str, order: Order) -> Said:
        """Raises `ModelError`. A prompt that is too long for the model has an empty reply."""
        conversation = Conversation(job)
        prompt = await asyncio.to_thread(self.blobs.get, order.prompt)
        conversation.append(Message(role="user", content=prompt.decode()))
        with boundary(ModelError, f"{order.model}: asking it"):
            try:
                reply = await self.models(order.model, order.base_urls).complete(conversation, order.sampling)
            except ContextLengthExceeded:
                return Said(finish_reason="context_length")
        return Said(
            content=reply.content or "",
            reasoning=reply.reasoning,
            finish_reason=reply.finish_reason,
            prompt_tokens=reply.usage.prompt_tokens,
            completion_tokens=reply.usage.completion_tokens,
            endpoint=reply.endpoint,
        )

    def kept(self, job: str) -> str | None:
        """The reply's blob, where an earlier attempt has it, or a job that asked the same and scored it otherwise."""
        found = kept_replies(self.store, job)
        return found.get(job) or next(iter(found.values()), None)

    def keep(self, claim: Claim, said: Said) -> str:
        blob = self.blobs.put(orjson.dumps(said.model_dump()), REPLY_MEDIA_TYPE).hash
        self.store.note(claim, {"reply": blob})
        return blob

    def asked_about(self, trajectory: str) -> Candidate:
        (found,) = self.store.candidates_of([trajectory])
        return found

    async def scored(self, order: Order, said: Said, blob: str) -> Outcome:
        answer = answer_of(said.content, order.answer_kind) if said.finish_reason in (None, "stop") else None
        if answer is None:
            words = f"no {order.answer_kind} to score (finish reason {said.finish_reason})"
            return Done(result={"reply": blob, "right": False, "words": words})
        found = await patiently(lambda: asyncio.to_thread(self.asked_about, order.trajectory), order.trajectory)
        task = found.trajectory.task
        environment = self.environments.get(task.environment)
        if environment is None or found.reference is None:
            missing = f"environment {task.environment!r}" if environment is None else f"reference of task {task.id!r}"
            return Broken(
                "environment_error", f"a model's answer cannot be scored without the {missing}", permanent=True
            )
        with boundary(EnvironmentFailure, f"{environment.name}: scoring a model's answer"):
            async with self.admission.scoring:
                score = await environment.score(task, found.reference, answer)
        return Done(result={"reply": blob, "right": score.right, "words": f"{score.verdict}: {score.words}"[:500]})


def kept_replies(store: Store, job: str) -> dict[str, str]:
    """The blobs of replies to what this job asks, by the job that has it: its own, or one that scores it otherwise."""
    first, last = (job[:ASKED_DIGITS] + digit * JUDGED_DIGITS for digit in "0f")
    return {id: str(result["reply"]) for id, result in store.results("generation", first, last).items()}
