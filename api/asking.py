"""The teacher of a compilation as jobs of the durable queue.

A job's id is made of all that its reply depends on, so a sample is asked for once, however often the compilation is
started again or another one wants the same.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from api.generation import Order, Said
from compiler.candidate import Candidate
from compiler.errors import CompileError
from compiler.example import Example
from compiler.recipe import TeacherPolicy
from compiler.teacher import Sample, Samples
from envs.blobs import BlobStore
from envs.frozen import content_hash
from rollout.runs import Job
from rollout.store import Store

POLL_SECONDS = 0.5


class QueuedTeacher:
    """A `Teacher`. `pause` sleeps, or raises where the compilation is to stop."""

    def __init__(self, store: Store, blobs: BlobStore, policy: TeacherPolicy, pause: Callable[[float], None]) -> None:
        if policy.model is None:
            raise CompileError("recipe: teacher.model names no model, and the service had none when this was queued")
        self.store = store
        self.blobs = blobs
        self.policy = policy
        self.model = policy.model
        self.pause = pause

    def ask(self, example: Example, prompt: str, candidate: Candidate) -> Samples:
        blob = self.blobs.put(prompt.encode()).hash
        orders = {}
        for number in range(self.policy.samples):
            order = Order(
                trajectory=example.trajectory,
                prompt=blob,
                answer_kind=example.answer_kind,
                model=self.model,
                base_urls=self.policy.base_urls,
                sampling=seeded(self.policy.sampling, number),
            )
            orders[name_of(order, number, candidate)] = order.model_dump(mode="json")
        self.store.order("generation", orders)
        return partial(self.wait, tuple(orders))

    def wait(self, jobs: Sequence[str]) -> list[Sample]:
        """Raises `CompileError` where one has failed for good. The others are kept for the next compilation."""
        while True:
            found = self.store.jobs(jobs)
            for job in found:
                if job.state in ("failed", "cancelled"):
                    raise CompileError(f"target: teacher's sample {job.id} {job.state}: {job.error or 'by a user'}")
            if all(job.state == "succeeded" for job in found):
                return [self.sample(job) for job in found]
            self.pause(POLL_SECONDS)

    def sample(self, job: Job) -> Sample:
        assert job.result is not None
        said = Said.model_validate_json(self.blobs.get(job.result["reply"]))
        return Sample(reasoning=said.reasoning, content=said.content, right=job.result["right"])


def seeded(sampling: dict[str, Any], number: int) -> dict[str, Any]:
    """Sampling parameters of one sample: a seed is the first one's, since equal ones would give equal samples."""
    seed = sampling.get("seed")
    return {**sampling, "seed": seed + number} if isinstance(seed, int) else sampling


def name_of(order: Order, number: int, candidate: Candidate) -> str:
    """Where the endpoint stands is no part of it."""
    asked = [order.prompt, order.answer_kind, order.model, order.sampling, number]
    scored_by = [candidate.trajectory.task.hash, candidate.reference and candidate.reference.model_dump(mode="json")]
    return f"gen_{content_hash([*asked, *scored_by])[:40]}"
