"""What the models of a recipe will be asked, before anybody is: calls, and the tokens of their prompts.

The examples are built as the compilation will build them. What is known already (a kept reply) decides as it will
then; where nothing is known, an example is taken to pass. So the numbers are upper bounds: what an audit drops, the
next one is not asked about.
"""

import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from api.asking import QueuedAsker, orders_of
from api.compile_steps import candidates, chosen
from api.generation import kept_replies
from compiler.asking import NotAsked, Sample, Samples
from compiler.build import outcomes
from compiler.candidate import Candidate
from compiler.compilation import renderings_file
from compiler.drops import Dropped
from compiler.example import Example
from compiler.recipe import Recipe
from compiler.recipe_asking import Asking
from compiler.render import Renderer
from compiler.renderings import FileRenderings
from compiler.siblings import Siblings, gather, wants_siblings
from compiler.tokens import load_tokenizer
from envs.blobs import blob_of
from envs.frozen import Frozen
from rollout.blobs import FolderBlobs
from rollout.store import Store

BOUNDS = ("max_completion_tokens", "max_tokens")


class Asked(Frozen):
    """Of one model of the recipe."""

    model: str
    calls: int = 0
    kept: int = 0
    """Of these, calls whose reply is there already."""
    prompt_tokens: int = 0
    """Of the calls that remain, by the recipe's tokenizer."""
    completion_tokens: int | None = None
    """At most, of the calls that remain; None where the sampling sets no `max_tokens`."""

    @property
    def to_pay(self) -> int:
        return self.calls - self.kept


class Estimate(Frozen):
    trajectories: int
    dropped: dict[str, int]
    """Before and by what is known, by reason."""
    examples: int
    asked: dict[str, Asked]
    """By the recipe's field."""


def estimate(store: Store, blobs: FolderBlobs, datasets: Path, recipe: Recipe, scorers: Mapping[str, str]) -> Estimate:
    """Asks nobody and publishes nothing; what it renders and counts is known to the compilation. Raises
    `CompileError`."""
    asker = Estimating(store, blobs, scorers, recipe)
    dropped: Counter[str] = Counter()
    read = built = 0
    ids = list(chosen(store, recipe))
    with tempfile.TemporaryDirectory() as folder:
        siblings = None
        if wants_siblings(recipe):
            gather(candidates(store, ids), Path(folder) / "siblings.sqlite")
            siblings = Siblings(Path(folder) / "siblings.sqlite")
        renderer = Renderer(blobs, load_tokenizer(recipe.tokenizer), FileRenderings(renderings_file(datasets)))
        for _, outcome in outcomes(recipe, candidates(store, ids), renderer, asker, siblings):
            read += 1
            if isinstance(outcome, Dropped):
                dropped[outcome.reason] += 1
            else:
                built += 1
    return Estimate(trajectories=read, dropped=dict(sorted(dropped.items())), examples=built, asked=asker.asked)


class Estimating:
    """An `Asker` that asks nobody."""

    def __init__(self, store: Store, blobs: FolderBlobs, scorers: Mapping[str, str], recipe: Recipe) -> None:
        self.store = store
        self.scorers = scorers
        self.asked = {name: Asked(model=asking.model or "") for name, asking in recipe.asked.items()}
        self._names = {id(asking): name for name, asking in recipe.asked.items()}
        self._queued = QueuedAsker(store, blobs, scorers, lambda _: None)

    def ask(self, asking: Asking, prompt: str, tokens: int, example: Example, candidate: Candidate) -> Samples:
        orders = orders_of(asking, blob_of(prompt.encode()).hash, example, candidate, self.scorers)
        kept = sum(bool(kept_replies(self.store, job)) for job in orders)
        self._count(asking, len(orders), kept, tokens)
        done = [job for job in self.store.jobs(tuple(orders)) if job.state == "succeeded"]

        def samples() -> list[Sample]:
            if len(done) < len(orders):
                raise NotAsked
            return [self._queued.sample(job) for job in done]

        return samples

    def _count(self, asking: Asking, calls: int, kept: int, tokens: int) -> None:
        name = self._names[id(asking)]
        so_far, left = self.asked[name], calls - kept
        bound = next((asking.sampling[key] for key in BOUNDS if key in asking.sampling), None)
        self.asked[name] = Asked(
            model=so_far.model,
            calls=so_far.calls + calls,
            kept=so_far.kept + kept,
            prompt_tokens=so_far.prompt_tokens + left * tokens,
            completion_tokens=None if bound is None else (so_far.completion_tokens or 0) + left * int(bound),
        )
