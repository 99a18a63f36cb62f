"""Search: the full text of visited pages is needed; results listed and never visited are distractors.

A page that was visited again is one piece, unless it had changed meanwhile: nobody knows which text told the answer.
"""

from collections import Counter

from compiler.candidate import Candidate
from compiler.drops import Dropped, PieceReason
from compiler.evidence import Found, Material, met, parsed, submitted
from compiler.recipe import Recipe
from compiler.transforms import document
from envs.evidence import Evidence
from envs.search.world import SearchReference


def search_material(candidate: Candidate, recipe: Recipe) -> Material:
    left_out: Counter[PieceReason] = Counter()
    visited: dict[tuple[str, str], Evidence] = {}
    listed: dict[str, tuple[int, int, Evidence]] = {}
    for order, (_, piece) in enumerate(met(candidate.trajectory, left_out)):
        if piece.kind != "document":
            left_out["listing"] += 1
        elif piece.blob is None:
            raise Dropped("evidence_missing", f"page {piece.source}: its text was not kept")
        elif piece.how == "opened":
            visited.setdefault((piece.source, piece.blob.hash), piece)
        else:
            rank = piece.rank or 1_000_000
            if piece.source not in listed or rank < listed[piece.source][0]:
                first = listed[piece.source][1] if piece.source in listed else order
                listed[piece.source] = (rank, first, piece)

    reference = parsed(SearchReference, candidate.reference.data, "reference") if candidate.reference else None
    gold = reference.gold_docs if reference else ()
    opened = {piece.source for piece in visited.values()}
    needed, tier1 = list(visited.values()), list[Evidence]()
    if recipe.search.needed == "gold" and gold:
        tier1 = [piece for piece in needed if piece.source not in gold]
        needed = [piece for piece in needed if piece.source in gold]
    if not needed:
        raise Dropped("no_evidence", "no page was visited" + (" that the answer needs" if opened else ""))

    tier2 = [piece for _, _, piece in sorted(listed.values(), key=lambda v: v[:2]) if piece.source not in opened]
    if recipe.search.distractors == "none":
        tier1, tier2 = [], []
    return Material(
        needed=tuple(_found(p, 0) for p in needed),
        distractors=tuple(_found(p, 1) for p in tier1) + tuple(_found(p, 2) for p in tier2),
        answer=reference.answers[0] if reference else submitted(candidate),
        answer_kind="text",
        group=candidate.trajectory.task.group,
        sibling=lambda piece, tier: None if piece.blob is None or piece.source in gold else _found(piece, tier),
        answers=reference.answers if reference else (submitted(candidate),),
        labels={"answerable": _answerable(gold, frozenset(p.source for p in needed))},
        left_out=left_out,
    )


def _answerable(gold: tuple[str, ...], needed: frozenset[str]) -> str:
    """The documents that the answer follows from must be there, where they are known."""
    if not gold:
        return "unknown"
    missing = [source for source in gold if source not in needed]
    if missing:
        raise Dropped("not_answerable", f"gold documents never visited: {', '.join(missing)}")
    return "gold documents present"


def _found(piece: Evidence, tier: int) -> Found:
    assert piece.blob is not None
    return Found(
        kind="document",
        source=piece.source,
        version=piece.version,
        title=piece.title or piece.source,
        blob=piece.blob.hash,
        encoding=piece.blob.encoding,
        step=document(piece.title or piece.source),
        licence=piece.licence or "",
        tier=tier,
    )
