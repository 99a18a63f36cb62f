"""Which distractors stand beside the needed pieces: by tiers, the most confusable first, each where it fits whole.

Those that the agent met come first, then what siblings met, then near tables. Of siblings there are always more than
fit: they fill an example up to the recipe's length, and those that do not stand are not counted as left out.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from compiler.audits import SHORT, stands_in
from compiler.candidate import Candidate
from compiler.decontaminate import Evaluation
from compiler.drops import PieceReason
from compiler.evidence import Found, Material
from compiler.recipe import Recipe
from compiler.render import Rendered, Renderer
from compiler.siblings import TASK_TIER, Siblings, reach_of
from compiler.transforms import Undecodable, neutralise
from envs.blobs import BlobMissing

AT_ONCE = 16
"""Siblings' pieces that are rendered at once."""
MISSES = 32
"""So many in a row that do not fit: the example is as full as it gets."""


def identity(piece: Rendered) -> str:
    """One page under two ids is one piece; two files of equal content are two."""
    return piece.found.blob if piece.found.kind == "document" else piece.known.hash


class Filling:
    """`taken` grows up to `limit` tokens beside the needed pieces."""

    def __init__(self, needed: Sequence[Rendered], limit: int, renderer: Renderer, evaluation: Evaluation | None):
        self.taken: list[Rendered] = []
        self._left = limit - sum(p.known.tokens for p in needed)
        self._seen = {identity(p) for p in needed}
        self._renderer = renderer
        self._evaluation = evaluation

    def own(self, sources: Sequence[Found], left_out: Counter[PieceReason], too_long: PieceReason) -> None:
        for source in sources:
            if (reason := self._take(source, too_long)) is not None:
                left_out[reason] += 1

    def siblings(self, sources: Iterable[Found], answers: Sequence[str]) -> None:
        """Of a page that holds an answer nobody knows whether it distracts: it does not stand."""
        misses, rest = 0, iter(sources)
        while misses < MISSES and self._left > 0 and (some := list(islice(rest, AT_ONCE))):
            self._renderer.prefetch(some)
            for source in some:
                reason = self._take(source, "fill", answers)
                misses = misses + 1 if reason == "fill" else 0

    def _take(self, source: Found, too_long: PieceReason, answers: Sequence[str] = ()) -> PieceReason | None:
        """Why it does not stand; None where it does, or stands already."""
        try:
            rendered = self._renderer.render(source)
        except Undecodable:
            return "undecodable"
        except BlobMissing:
            return "blob_missing"
        if rendered.known.blank:
            return "blank"
        if identity(rendered) in self._seen:
            return None
        if self._evaluation and self._evaluation.overlaps(self._renderer.text_of(rendered)):
            return "contaminated"
        if rendered.known.tokens > self._left:
            return too_long
        if answers and any(stands_in(answer, self._renderer.text_of(rendered)) for answer in answers):
            return "answer_echo"
        self._seen.add(identity(rendered))
        self.taken.append(rendered)
        self._left -= rendered.known.tokens
        return None


def distractors(
    candidate: Candidate,
    material: Material,
    needed: Sequence[Rendered],
    room: int,
    recipe: Recipe,
    renderer: Renderer,
    evaluation: Evaluation | None,
    siblings: Siblings | None,
    left_out: Counter[PieceReason],
) -> list[Rendered]:
    """`room`: tokens that all pieces may have together."""
    filling = Filling(needed, room, renderer, evaluation)
    too_long: PieceReason = "budget" if recipe.fill_tokens is None else "fill"
    filling.own([d for d in material.distractors if d.tier < TASK_TIER], left_out, too_long)
    if siblings is not None:
        answers = [neutralise(a).text for a in material.answers if len(a.strip()) > SHORT]
        filling.siblings(_resolved(candidate, material, recipe, siblings), answers)
    filling.own([d for d in material.distractors if d.tier >= TASK_TIER], left_out, too_long)
    return filling.taken


def _resolved(candidate: Candidate, material: Material, recipe: Recipe, siblings: Siblings) -> Iterator[Found]:
    trajectory = candidate.trajectory
    own = {piece.source for _, piece in trajectory.evidence}
    for tier, piece in siblings.of(trajectory, reach_of(recipe, trajectory.task.environment), recipe.seed):
        if piece.source not in own and (found := material.sibling(piece, tier)) is not None:
            yield found
