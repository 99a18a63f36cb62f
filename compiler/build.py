"""One trajectory becomes one example, or is dropped with its first reason."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import ParamSpec

from compiler.asking import Asker, Outcome, Stage, through
from compiler.assemble import assemble
from compiler.audit_stages import closed_book_stage, control_stage, necessity_stage, shortcut_stage
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
from compiler.siblings import Siblings, wants_siblings
from compiler.teacher import teacher_stage
from compiler.transforms import Undecodable

P = ParamSpec("P")


def build(candidate: Candidate, recipe: Recipe, renderer: Renderer, siblings: Siblings | None = None) -> Example:
    """The example with its bare answer, which a teacher may replace later. Raises `Dropped`."""
    _admit(candidate, recipe)
    try:
        return assemble(candidate, _material(candidate, recipe, renderer), recipe, renderer, siblings)
    except Undecodable as e:
        raise Dropped("undecodable", str(e)) from None


def outcomes(
    recipe: Recipe,
    candidates: Iterable[Candidate],
    renderer: Renderer,
    asker: Asker | None = None,
    siblings: Siblings | None = None,
) -> Iterator[Outcome]:
    """What each candidate becomes, in their order.

    Raises `RecipeError` where the recipe asks a model and nobody is there to ask.
    """
    found: Iterator[Outcome] = ((c, _or_dropped(build, c, recipe, renderer, siblings)) for c in candidates)
    for stage in _stages(recipe, renderer, asker):
        found = through(found, stage)
    return found


def prepare(candidate: Candidate, recipe: Recipe, renderer: Renderer, asker: Asker | None) -> None:
    """What `outcomes` will need of a candidate is made known, and models are asked: not where siblings will fill its
    prompt, which is another one then. Raises what waiting for a model's reply raises."""
    with suppress(Dropped):
        example = build(candidate, recipe, renderer)
        for stage in () if wants_siblings(recipe) else _stages(recipe, renderer, asker):
            example = stage(example, candidate)()


def _stages(recipe: Recipe, renderer: Renderer, asker: Asker | None) -> list[Stage]:
    """In the order of `Recipe.asked`."""
    if not recipe.asked:
        return []
    if asker is None:
        what = "target: 'teacher'" if recipe.target == "teacher" else next(iter(recipe.asked))
        raise RecipeError(f"{what} needs a model endpoint; leave it out without one")
    stages = []
    if recipe.closed_book:
        stages.append(closed_book_stage(recipe.closed_book, renderer, asker))
    if recipe.shortcut:
        stages.append(shortcut_stage(recipe.shortcut, renderer, asker))
    if recipe.target == "teacher":
        stages.append(teacher_stage(recipe, renderer, asker))
    if recipe.necessity:
        stages.append(control_stage(recipe.necessity, renderer, asker))
        stages.append(necessity_stage(recipe.necessity, renderer, asker))
    return stages


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
    if recipe.asked and candidate.reference is None:
        raise Dropped("no_reference", "nothing to score a model's answer with")


def _material(candidate: Candidate, recipe: Recipe, renderer: Renderer) -> Material:
    match candidate.trajectory.task.environment:
        case "search":
            return search_material(candidate, recipe)
        case "swe":
            return swe_material(candidate, recipe, renderer.blobs)
        case _:
            return sql_material(candidate, recipe, renderer.blobs)
