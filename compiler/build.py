"""One trajectory becomes one example, or a drop with its first reason."""

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
from compiler.teacher import Teacher, teach
from compiler.transforms import Undecodable


def build(candidate: Candidate, recipe: Recipe, renderer: Renderer, teacher: Teacher | None = None) -> Example:
    """Raises `Dropped`, and `RecipeError` where the recipe's target needs a teacher and none is there."""
    if recipe.target == "teacher" and teacher is None:
        raise RecipeError("target: 'teacher' needs a model endpoint that teaches; choose 'answer_only' without one")
    _admit(candidate, recipe)
    try:
        example = assemble(candidate, _material(candidate, recipe, renderer), recipe, renderer)
    except Undecodable as e:
        raise Dropped("undecodable", str(e)) from None
    if recipe.target == "answer_only" or teacher is None:
        return example
    return teach(example, prompt_of(example, renderer), candidate, recipe, renderer.tokenizer, teacher)


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


def _material(candidate: Candidate, recipe: Recipe, renderer: Renderer) -> Material:
    match candidate.trajectory.task.environment:
        case "search":
            return search_material(candidate, recipe)
        case "swe":
            return swe_material(candidate, recipe, renderer.blobs)
        case _:
            return sql_material(candidate, recipe, renderer.blobs)
