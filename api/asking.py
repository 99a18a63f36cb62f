"""The models that a compilation asks, as jobs of the durable queue.

A job's id is made of all that its result depends on, in two halves: what is asked, and what judges the reply. So a
reply is paid for once, however often the compilation is started again or another one wants the same, and scored anew
for nothing where the scorer has changed.
"""

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from api.generation import Order, Said
from compiler.asking import Sample, Samples, Unanswered
from compiler.candidate import Candidate
from compiler.errors import CompileError
from compiler.example import Example
from compiler.recipe_asking import Asking
from envs.blobs import BlobStore
from envs.frozen import content_hash
from rollout.runs import Job
from rollout.store import Store

POLL_SECONDS = 0.5
_URL = re.compile(r"https?://[^\s,;]+")
"""Where endpoints stand is not told in what is published, and a drop's words are."""


class QueuedAsker:
    """An `Asker`. `pause` sleeps, or raises where the compilation is to stop. `scorers` names each environment's
    scorer with its version; `compilation` is who orders, or `run` for whose compilation it is ordered ahead."""

    def __init__(
        self,
        store: Store,
        blobs: BlobStore,
        scorers: Mapping[str, str],
        pause: Callable[[float], None],
        compilation: str | None = None,
        run: str | None = None,
    ) -> None:
        self.store = store
        self.blobs = blobs
        self.scorers = scorers
        self.pause = pause
        self.compilation = compilation
        self.run = run
        self.ordered = self.answered = 0
        """Calls so far: ordered, and waited for to their end. What was known already counts as well."""

    def ask(
        self,
        asking: Asking,
        prompt: str,
        tokens: int,  # noqa: ARG002
        example: Example,
        candidate: Candidate,
    ) -> Samples:
        blob = self.blobs.put(prompt.encode()).hash
        orders = orders_of(asking, blob, example, candidate, self.scorers, self.compilation, self.run)
        self.store.order("generation", orders, compilation=self.compilation)
        self.ordered += len(orders)
        return partial(self.wait, orders)

    def wait(self, orders: Mapping[str, dict[str, Any]]) -> list[Sample]:
        """Raises `Unanswered` where one has failed for good; the others are kept. One that was cancelled with another
        compilation is ordered again."""
        while True:
            found = self.store.jobs(tuple(orders))
            for job in found:
                if job.state == "failed":
                    raise Unanswered(f"{job.id}: {job.failure}: {_URL.sub('the endpoint', job.error)}")
            if all(job.state == "succeeded" for job in found):
                self.answered += len(found)
                return [self.sample(job) for job in found]
            if cancelled := {job.id: orders[job.id] for job in found if job.state == "cancelled"}:
                self.store.order("generation", cancelled, compilation=self.compilation)
            self.pause(POLL_SECONDS)

    def sample(self, job: Job) -> Sample:
        assert job.result is not None
        said = Said.model_validate_json(self.blobs.get(job.result["reply"]))
        cut = said.finish_reason in ("length", "context_length")
        return Sample(reasoning=said.reasoning, content=said.content, right=job.result["right"], cut=cut)


def orders_of(
    asking: Asking,
    prompt: str,
    example: Example,
    candidate: Candidate,
    scorers: Mapping[str, str],
    compilation: str | None = None,
    run: str | None = None,
) -> dict[str, dict[str, Any]]:
    """The payload of each sample's job by its id, in order. `prompt`: its blob. Raises `CompileError`."""
    if asking.model is None:
        raise CompileError("recipe: a model is to be asked, and neither the recipe nor the service named one")
    environment = candidate.trajectory.task.environment
    if environment not in scorers:
        raise CompileError(f"environment {environment!r} is not there to score what a model answers")
    orders = {}
    for number in range(asking.samples):
        order = Order(
            trajectory=example.trajectory,
            prompt=prompt,
            answer_kind=example.answer_kind,
            model=asking.model,
            base_urls=asking.base_urls,
            sampling=seeded(asking.sampling, number),
            compilation=compilation,
            run=run,
        )
        orders[name_of(order, number, candidate, scorers[environment])] = order.model_dump(mode="json")
    return orders


def seeded(sampling: dict[str, Any], number: int) -> dict[str, Any]:
    """Sampling parameters of one sample: a seed is the first one's, since equal ones would give equal samples."""
    seed = sampling.get("seed")
    return {**sampling, "seed": seed + number} if isinstance(seed, int) else sampling


def name_of(order: Order, number: int, candidate: Candidate, scorer: str) -> str:
    """`gen_` and 40 digits for what is asked (where the endpoint stands is no part of it), 16 for what judges it."""
    asked = [order.prompt, order.model, order.sampling, number]
    reference = candidate.reference and candidate.reference.model_dump(mode="json")
    judged = [order.answer_kind, candidate.trajectory.task.hash, reference, scorer]
    return f"gen_{content_hash(asked)[:40]}{content_hash(judged)[:16]}"
