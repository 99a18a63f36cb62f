"""Audits that ask a model: is the question answered from less than the whole context? Each drops or labels.

An audit that could not be made is never taken for passed: it drops (`audit_failed`), or labels where the audit labels.
"""

from collections.abc import Sequence

from compiler.asking import Asker, Judged, Samples, Stage, Unanswered, tally
from compiler.assemble import prompt_of
from compiler.candidate import Candidate
from compiler.closed_book import closed_book_prompt
from compiler.drops import Dropped, TrajectoryReason
from compiler.example import Asked, Example, Piece
from compiler.recipe_asking import Audit, ClosedBook, Necessity, Shortcut
from compiler.render import Renderer
from compiler.shortcut import top_piece, window

INCONCLUSIVE = "inconclusive: not answered from the whole context"


def closed_book_stage(audit: ClosedBook, renderer: Renderer, asker: Asker) -> Stage:
    def stage(example: Example, candidate: Candidate) -> Judged:
        prompt = closed_book_prompt(example)
        samples = asker.ask(audit, prompt, renderer.tokenizer.count(prompt), example, candidate)

        def judged() -> Example:
            try:
                found = _tally("closed_book", "nothing", samples)
            except Unanswered as e:
                return _not_made(example, "closed_book", audit, e)
            return _answered(example, "closed_book", audit, (found,), "without any context")

        return judged

    return stage


def shortcut_stage(audit: Shortcut, renderer: Renderer, asker: Asker) -> Stage:
    def stage(example: Example, candidate: Candidate) -> Judged:
        asked: dict[str, Samples] = {}
        frame = example.prompt_tokens - sum(p.tokens for p in example.pieces)
        if "top_piece" in audit.views and len(example.pieces) > 1:
            best = top_piece(example, renderer)
            prompt = prompt_of(example.model_copy(update={"pieces": (best,)}), renderer)
            asked["top_piece"] = asker.ask(audit, prompt, frame + best.tokens, example, candidate)
        if "window" in audit.views and example.prompt_tokens - frame > audit.window_tokens:
            prompt = window(example, renderer, audit.window_tokens)
            asked["window"] = asker.ask(audit, prompt, frame + audit.window_tokens, example, candidate)

        def judged() -> Example:
            if not asked:
                return _labelled(example, "shortcut", "no shorter view")
            try:
                found = [_tally("shortcut", view, samples) for view, samples in asked.items()]
            except Unanswered as e:
                return _not_made(example, "shortcut", audit, e)
            return _answered(example, "shortcut", audit, found, "from a part of the context")

        return judged

    return stage


def control_stage(audit: Necessity, renderer: Renderer, asker: Asker) -> Stage:
    """Only what the model answers from the whole context can tell what it needs of it."""

    def stage(example: Example, candidate: Candidate) -> Judged:
        samples = asker.ask(audit, prompt_of(example, renderer), example.prompt_tokens, example, candidate)

        def judged() -> Example:
            try:
                found = _tally("necessity", "whole", samples)
            except Unanswered as e:
                return _not_made(example, "necessity", audit, e)
            kept = example.model_copy(update={"asked": (*example.asked, found)})
            return kept if found.share >= audit.threshold else _labelled(kept, "necessity", INCONCLUSIVE)

        return judged

    return stage


def necessity_stage(audit: Necessity, renderer: Renderer, asker: Asker) -> Stage:
    """After `control_stage`, which leaves a label where there is nothing more to ask."""

    def stage(example: Example, candidate: Candidate) -> Judged:
        if "necessity" in example.labels:
            return lambda: example
        needed = [piece for piece in example.pieces if piece.role == "needed"]
        asked: list[tuple[str, Samples]] = []
        for piece in needed:
            rest = tuple(p for p in example.pieces if p is not piece)
            prompt = prompt_of(example.model_copy(update={"pieces": rest}), renderer)
            samples = asker.ask(audit, prompt, example.prompt_tokens - piece.tokens, example, candidate)
            asked.append((piece.source, samples))

        def judged() -> Example:
            try:
                found = [_tally("necessity", "without", samples, source) for source, samples in asked]
            except Unanswered as e:
                return _not_made(example, "necessity", audit, e)
            return _necessary(example, audit, needed, found)

        return judged

    return stage


def _necessary(example: Example, audit: Necessity, needed: Sequence[Piece], found: Sequence[Asked]) -> Example:
    spare = [one.source for one in found if one.share >= audit.threshold]
    least = len(needed) if audit.least is None else audit.least
    necessary = len(needed) - len(spare)
    if necessary < least and audit.action == "drop":
        raise Dropped(
            "spare_pieces",
            f"{necessary} of {len(needed)} needed pieces are necessary; answered without {', '.join(spare)}"[:500],
        )
    kept = example.model_copy(update={"asked": (*example.asked, *found)})
    return _labelled(kept, "necessity", f"{necessary} of {len(needed)} pieces necessary")


def _tally(audit: str, view: str, samples: Samples, source: str = "") -> Asked:
    """Raises `Unanswered`."""
    return tally(samples(), audit, view, source)


def _answered(example: Example, name: TrajectoryReason, audit: Audit, found: Sequence[Asked], how: str) -> Example:
    best = max(found, key=lambda one: one.share)
    if best.share >= audit.threshold and audit.action == "drop":
        raise Dropped(name, f"answered {how} ({best.view}): {best.words} samples are right")
    kept = example.model_copy(update={"asked": (*example.asked, *found)})
    word = "answered" if best.share >= audit.threshold else "not answered"
    return _labelled(kept, name, f"{word} ({best.words})")


def _not_made(example: Example, name: str, audit: Audit, error: Unanswered) -> Example:
    if audit.action == "label":
        return _labelled(example, name, "failed")
    raise Dropped("audit_failed", f"{name}: {error}"[:500])


def _labelled(example: Example, name: str, label: str) -> Example:
    return example.model_copy(update={"labels": example.labels | {name: label}})
