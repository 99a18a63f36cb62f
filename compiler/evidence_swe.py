"""SWE: the files that the correct patch touches, as they were before it; other inspected files are distractors."""

from collections import Counter
from functools import lru_cache
from pathlib import PurePosixPath

from compiler.candidate import Candidate
from compiler.drops import Dropped, PieceReason
from compiler.evidence import Found, Material, met, parsed, submitted
from compiler.patches import FilePatch, old_paths, parse_patch
from compiler.recipe import Recipe
from compiler.transforms import Undecodable, decode
from compiler.transforms import file as file_step
from envs.blobs import BlobMissing, BlobStore
from envs.evidence import Evidence
from envs.swe.world import SweReference, SweWorld, Tree, TreeFile

_LEAK_SUFFIXES = frozenset({".patch", ".diff", ".rej", ".orig"})


def swe_material(candidate: Candidate, recipe: Recipe, blobs: BlobStore) -> Material:
    trajectory = candidate.trajectory
    world = parsed(SweWorld, trajectory.task.world, "task.world")
    reference = parsed(SweReference, candidate.reference.data, "reference") if candidate.reference else None
    answer = (reference.gold_patch if reference else "") or submitted(candidate)
    patch = parse_patch(answer)
    tree = _tree(world.tree, blobs)
    touched = old_paths(patch)
    missing = [path for path in touched if path not in tree]
    if missing:
        raise Dropped("broken", f"the patch changes files that the base tree lacks: {', '.join(missing)}")
    if not touched:
        raise Dropped("no_evidence", "the correct patch touches no file that existed before it")

    licence = trajectory.task.licence or ""
    left_out: Counter[PieceReason] = Counter()
    inspected: dict[str, Evidence] = {}
    for _, piece in met(trajectory, left_out):
        if piece.kind != "file":
            left_out["listing"] += 1
        elif piece.how == "opened" and piece.source not in touched:
            # The base tree has the text, whatever was kept of the view.
            inspected.setdefault(piece.source, piece)

    hidden = frozenset(reference.hidden_tests) if reference else frozenset()
    new = frozenset(p.new for p in patch if p.new is not None)
    distractors = []

    def unfit(path: str) -> PieceReason | None:
        if path in hidden or path in new or leaks(path):
            return "leaking_file"
        return "made_by_agent" if path not in tree or tree[path].mode == "120000" else None

    def sibling(piece: Evidence, tier: int) -> Found | None:
        """The file as it is in this task's own tree: in another one it may be mended."""
        path = piece.source
        return None if path in touched or unfit(path) else _found(path, tree[path], world.tree, licence, tier)

    for path in inspected:
        if (reason := unfit(path)) is not None:
            left_out[reason] += 1
        else:
            distractors.append(_found(path, tree[path], world.tree, licence, 1))
    return Material(
        needed=tuple(_found(path, tree[path], world.tree, licence, 0) for path in touched),
        distractors=tuple(distractors) if recipe.swe.distractors == "inspected" else (),
        answer=answer,
        answer_kind="patch",
        group=trajectory.task.group or world.repository,
        sibling=sibling,
        labels={"answerable": _answerable(patch, tree, blobs)},
        left_out=left_out,
    )


def leaks(path: str) -> bool:
    """Git's own data, patches and left-overs of patching can hold the fix."""
    parts = PurePosixPath(path)
    return ".git" in parts.parts or parts.suffix in _LEAK_SUFFIXES


def _answerable(patch: tuple[FilePatch, ...], tree: dict[str, TreeFile], blobs: BlobStore) -> str:
    """Every old line of every hunk must stand in the file before the patch, where the hunk says."""
    for part in patch:
        if part.old is None or not part.hunks:
            continue
        try:
            text = decode(blobs.get(tree[part.old].blob), "utf-8")
        except BlobMissing:
            raise Dropped("evidence_missing", f"{part.old}: its blob is not in the store") from None
        except Undecodable as e:
            raise Dropped("undecodable", f"{part.old}: {e}") from None
        lines = [line.removesuffix("\r") for line in text.split("\n")]
        for hunk in part.hunks:
            old = [line.removesuffix("\r") for line in hunk.old]
            at = max(hunk.start - 1, 0)
            if lines[at : at + len(old)] != old:
                raise Dropped("not_answerable", f"{part.old}: the patch's old lines are not at line {hunk.start}")
    return "old lines present"


@lru_cache(maxsize=16)
def _parsed_tree(data: bytes) -> dict[str, TreeFile]:
    return Tree.model_validate_json(data).files


def _tree(hash: str, blobs: BlobStore) -> dict[str, TreeFile]:
    try:
        data = blobs.get(hash)
    except BlobMissing:
        raise Dropped("evidence_missing", f"the base tree {hash} is not in the store") from None
    try:
        return _parsed_tree(data)
    except ValueError as e:
        raise Dropped("broken", f"the base tree {hash} cannot be read: {e}") from None


def _found(path: str, file: TreeFile, tree: str, licence: str, tier: int) -> Found:
    return Found(
        kind="file",
        source=path,
        version=tree,
        title=path,
        blob=file.blob,
        encoding="utf-8",
        step=file_step(path),
        licence=licence,
        tier=tier,
    )
