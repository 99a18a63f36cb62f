"""One trajectory becomes one example, or is dropped with its first reason."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import ParamSpec

from compiler.assemble import assemble, prompt_of
from compiler.candidate import Candidate
from compiler.drops import Dropped
from compiler.errors import RecipeError
from compiler.evidence import Material
from compiler.evidence_search import search_material
from compiler.evidence_sql import sql_material
from compiler.evidence_swe import swe_material
from compiler.example import Example
from compiler.recipe import Recipe
from compiler.render import Renderer
from compiler.teacher import Samples, Teacher, teach
from compiler.transforms import Undecodable

P = ParamSpec("P")

TAUGHT_AHEAD = 64
"""Examples, and their trajectories in memory, that wait for a teacher."""


def build(candidate: Candidate, recipe: Recipe, renderer: Renderer) -> Example:
    """The example with its bare answer, which a teacher may replace later. Raises `Dropped`."""
    _admit(candidate, recipe)
    try:
        return assemble(candidate, _material(candidate, recipe, renderer), recipe, renderer)
    except Undecodable as e:
        raise Dropped("undecodable", str(e)) from None


def outcomes(
    recipe: Recipe, candidates: Iterable[Candidate], renderer: Renderer, teacher: Teacher | None = None
) -> Iterator[tuple[Candidate, Example | Dropped]]:
    """What each candidate becomes, in their order; with a teacher, up to `TAUGHT_AHEAD` of them are asked at once.

    Raises `RecipeError` where the recipe's target needs a teacher and none is there.
    """
    if recipe.target == "answer_only":
        for candidate in candidates:
            yield candidate, _or_dropped(build, candidate, recipe, renderer)
        return
    if teacher is None:
        raise RecipeError("target: 'teacher' needs a model endpoint that teaches; choose 'answer_only' without one")
    asked: deque[tuple[Candidate, Example | Dropped, Samples | None]] = deque()
    rest = iter(candidates)
    while True:
        for candidate in islice(rest, TAUGHT_AHEAD - len(asked)):
            example = _or_dropped(build, candidate, recipe, renderer)
            samples = None
            if isinstance(example, Example):
                samples = teacher.ask(example, prompt_of(example, renderer), candidate)
            asked.append((candidate, example, samples))
        if not asked:
            return
        candidate, example, samples = asked.popleft()
        if isinstance(example, Example) and samples is not None:
            example = _or_dropped(teach, example, samples(), recipe, renderer.tokenizer)
        yield candidate, example


def _or_dropped(make: Callable[P, Example], *given: P.args, **named: P.kwargs) -> Example | Dropped:
    try:
        return make(*given, **named)
    except Dropped as dropped:
        return dropped


def _admit(candidate: Candidate, recipe: Recipe) -> None:
    """Only finished, answer-verified trajectories are compiled."""
    trajectory, score = candidate.trajectory, candidate.score
    if trajectory.task.environment not in recipe.environments:
        raise Dropped("environment", f"environment {trajectory.task.environment!r} is not compiled by this recipe")
    if trajectory.model == "oracle" and not recipe.include_oracle:
        raise Dropped("oracle", "made by the oracle policy; set include_oracle to take such trajectories")
    if trajectory.stop is None and trajectory.source.kind == "native":
        raise Dropped("unfinished", trajectory.failure or "cancelled")
    if score is None:
        raise Dropped("no_score", "nobody scored this trajectory")
    if not score.right:
        raise Dropped("not_right", f"{score.verdict}: {score.words}"[:500])
    if recipe.target == "teacher" and candidate.reference is None:
        raise Dropped("no_reference", "nothing to score a teacher's answer with")


def _material(candidate: Candidate, recipe: Recipe, renderer: Renderer) -> Material:
    match candidate.trajectory.task.environment:
        case "search":
            return search_material(candidate, recipe)
        case "swe":
            return swe_material(candidate, recipe, renderer.blobs)
        case _:
            return sql_material(candidate, recipe, renderer.blobs)
