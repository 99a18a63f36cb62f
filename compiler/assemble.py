"""Material becomes an example: pieces within the budget, in a seeded order, each byte accounted for.

Needed pieces always stand, or the example is dropped; distractors as `compiler.distractors` takes them. Nothing is cut.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence

from compiler.audits import question_label, template_leak
from compiler.candidate import Candidate
from compiler.chat import chat_for, target_text
from compiler.decontaminate import Evaluation, load_evaluation
from compiler.distractors import distractors, identity
from compiler.drops import Dropped, PieceReason
from compiler.evidence import Found, Material
from compiler.example import CONFIGS, Example, Piece
from compiler.placement import arrange
from compiler.prompts import BY_ID, Template, choose
from compiler.recipe import Recipe
from compiler.render import Rendered, Renderer
from compiler.siblings import Siblings
from compiler.sketch import union
from compiler.transforms import Undecodable, neutralise
from envs.blobs import BlobMissing
from envs.frozen import content_hash


def assemble(
    candidate: Candidate, material: Material, recipe: Recipe, renderer: Renderer, siblings: Siblings | None = None
) -> Example:
    """Raises `Dropped`."""
    trajectory = candidate.trajectory
    trajectory_hash = trajectory.hash
    task = trajectory.task
    template = choose(task.environment, hashlib.sha256(f"{recipe.seed}|{trajectory_hash}".encode()).hexdigest())
    chat = chat_for(recipe.chat_template, renderer.tokenizer)
    left_out = Counter(material.left_out)
    answer = neutralise(material.answer)
    labels = material.labels | {
        "template_leak": template_leak(material.answer, template),
        "answer_in_question": question_label(material.answer, task.question),
    }
    question = neutralise(task.question).text
    for what, words in (("question", question), ("answer", answer.text)):
        try:
            renderer.check(words)
        except Undecodable as e:
            raise Dropped("undecodable", f"the {what} {e}") from None
    count = renderer.tokenizer.count
    target_tokens = count(target_text(None, answer.text))
    overhead = renderer.count(chat.before) + renderer.count(chat.between) + renderer.count(chat.end + chat.after)

    renderer.prefetch([*material.needed, *material.distractors])
    needed = _needed(material.needed, renderer, left_out)
    evaluation = load_evaluation(recipe.decontamination) if recipe.decontamination else None
    if evaluation:
        _uncontaminated(evaluation, task.question, needed, renderer)
    frame = _frame(template, question)
    frame_tokens = count(frame[0]) + renderer.count(frame[1])
    room = recipe.token_budget - overhead - target_tokens - frame_tokens
    spent = sum(p.known.tokens for p in needed)
    if spent > room and renderer.tokenizer.additive:
        raise Dropped("over_budget", f"the needed pieces have {spent} tokens; the budget leaves {room} for them")
    free = max(recipe.free_for_reply - target_tokens, 0)
    if recipe.fill_tokens is not None:
        free = max(free, recipe.token_budget - recipe.fill_tokens)
    others = distractors(candidate, material, needed, room - free, recipe, renderer, evaluation, siblings, left_out)
    placed = [*needed, *others]

    while True:
        ordered = arrange(placed, recipe.seed, trajectory_hash, recipe.placement)
        pieces = _pieces(ordered, len(frame[0].encode()))
        if renderer.tokenizer.additive:
            prompt_tokens = frame_tokens + sum(p.tokens for p in pieces)
            tokens = overhead + prompt_tokens + target_tokens
        else:
            prompt = _joined(frame, pieces, renderer)
            prompt_tokens = count(prompt)
            tokens = count(chat.before + prompt + chat.between) + target_tokens + count(chat.end + chat.after)
        if tokens <= recipe.token_budget:
            break
        if len(placed) == len(needed):
            raise Dropped("over_budget", f"{tokens} tokens with the needed pieces alone")
        excess = tokens - recipe.token_budget
        while excess > 0 and len(placed) > len(needed):
            excess -= placed.pop().known.tokens
            left_out["budget"] += 1
    if tokens < recipe.min_tokens:
        raise Dropped("too_short", f"{tokens} tokens; the recipe asks for {recipe.min_tokens}")

    head = len(template.head[0].encode())
    config = CONFIGS[task.environment]
    return Example(
        id=content_hash([config, template.id, question, [p.rendered for p in pieces], answer.text]),
        config=config,
        trajectory=trajectory.id,
        trajectory_hash=trajectory_hash,
        task=task.id,
        group=material.group,
        split=task.split,
        model=trajectory.model,
        template=template.id,
        question=question,
        question_at=(head, head + len(question.encode())),
        answer=answer.text,
        reasoning=None,
        ground_truth=material.answer,
        answer_kind=material.answer_kind,
        context_length=recipe.label(tokens),
        prompt_tokens=prompt_tokens,
        target_tokens=target_tokens,
        tokens=tokens,
        pieces=pieces,
        sketch=union([p.known.sketch for p in needed]).hex(),
        labels=labels,
        left_out={reason: n for reason, n in sorted(left_out.items()) if n},
    )


def prompt_of(example: Example, renderer: Renderer) -> str:
    """The prompt, rendered from the pieces' blobs. Raises `CompileError` where a blob is gone."""
    return _joined(frame_of(example), example.pieces, renderer)


def frame_of(example: Example) -> tuple[str, str]:
    """What stands before and after the pieces."""
    return _frame(BY_ID[example.template], example.question)


def _joined(frame: tuple[str, str], pieces: Sequence[Piece], renderer: Renderer) -> str:
    return "".join([frame[0], *(renderer.text(p) for p in pieces), frame[1]])


def _frame(template: Template, question: str) -> tuple[str, str]:
    before, after = template.head
    return before + question + after, template.closing


def _needed(found: Sequence[Found], renderer: Renderer, left_out: Counter[PieceReason]) -> list[Rendered]:
    out: dict[str, Rendered] = {}
    for source in found:
        try:
            rendered = renderer.render(source)
        except Undecodable as e:
            raise Dropped("undecodable", f"{source.source}: {e}") from None
        except BlobMissing:
            raise Dropped("evidence_missing", f"{source.source}: its blob is not in the store") from None
        if rendered.known.blank:
            left_out["blank"] += 1
        else:
            out.setdefault(identity(rendered), rendered)
    if not out:
        raise Dropped("no_evidence", "every needed piece is blank")
    return list(out.values())


def _uncontaminated(evaluation: Evaluation, question: str, needed: Sequence[Rendered], renderer: Renderer) -> None:
    if evaluation.overlaps(question):
        raise Dropped("contaminated", "the question overlaps an evaluation set")
    for piece in needed:
        if evaluation.overlaps(renderer.text_of(piece)):
            raise Dropped("contaminated", f"{piece.found.source} overlaps an evaluation set")


def _pieces(ordered: Sequence[Rendered], start: int) -> tuple[Piece, ...]:
    out = []
    for p in ordered:
        out.append(
            Piece(
                role="distractor" if p.found.tier else "needed",
                kind=p.found.kind,
                source=p.found.source,
                version=p.found.version,
                title=p.found.title,
                licence=p.found.licence,
                blob=p.found.blob,
                encoding=p.found.encoding or "",
                steps=p.steps,
                rendered=p.known.hash,
                start=start,
                end=start + p.known.size,
                tokens=p.known.tokens,
                tier=p.found.tier,
                neutralised=p.known.neutralised,
            )
        )
        start += p.known.size
    return tuple(out)
