"""A shard: what some candidates became, on disk and complete, or absent.

`examples.jsonl` holds built examples, `turns.jsonl` the baseline's rows, `index.jsonl` where each lies and what
selection needs of it, `drops.jsonl` the rest, `done.json` the counts. Compiling a shard again gives the same shard,
so a killed worker costs only time.
"""

import hashlib
import os
import shutil
import uuid
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson

from compiler.asking import Asker, Outcome
from compiler.build import outcomes
from compiler.candidate import Candidate
from compiler.drops import Drop, Dropped
from compiler.example import Example
from compiler.formats.agent import baseline
from compiler.recipe import Recipe
from compiler.render import Renderer
from compiler.renderings import Renderings
from compiler.siblings import Siblings
from compiler.split import units_of
from compiler.tokens import load_tokenizer
from envs.blobs import BlobStore
from envs.frozen import Frozen, content_hash

THREADS = min(4, os.cpu_count() or 1)
"""That tokenise; the result does not depend on their number."""

Progress = Callable[[int, int], None]
"""Called with (trajectories read, examples built) so far."""


class Entry(Frozen):
    """One built example, as selection sees it. Order by `key` depends on the rows and the seed alone."""

    key: str
    config: str
    id: str
    trajectory: str
    fingerprint: str
    """Equal for examples that ask the same over the same needed evidence."""
    group: str
    answer: str
    """sha256; only examples of one answer can be near duplicates."""
    question: str
    sources: tuple[str, ...]
    """Blobs of the needed pieces."""
    units: tuple[str, ...]
    """What may stand in train or in validation only (compiler.split)."""
    sketch: str
    offset: int
    length: int
    turns: tuple[int, int]
    """Offset and length in `turns.jsonl`; (0, 0) where the recipe asks for no baseline."""


class Summary(Frozen):
    selected: int
    built: int
    dropped: dict[str, int]


def compile_shard(
    recipe: Recipe,
    candidates: Iterable[Candidate],
    blobs: BlobStore,
    folder: Path,
    known: Renderings,
    progress: Progress | None = None,
    asker: Asker | None = None,
    siblings: Siblings | None = None,
) -> Summary:
    """Writes `folder`, which appears whole or not at all. An existing one is kept: it is the same."""
    if (folder / "done.json").exists():
        return Summary.model_validate_json((folder / "done.json").read_bytes())
    temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    temporary.mkdir(parents=True)
    try:
        with ThreadPoolExecutor(THREADS) as threads:
            renderer = Renderer(blobs, load_tokenizer(recipe.tokenizer), known, threads)
            found = outcomes(recipe, candidates, renderer, asker, siblings)
            summary = _write(recipe, found, temporary, progress)
        try:
            os.rename(temporary, folder)
        except OSError:
            if not (folder / "done.json").exists():
                raise
        return summary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write(recipe: Recipe, found: Iterable[Outcome], folder: Path, progress: Progress | None) -> Summary:
    selected = built = offset = 0
    dropped: Counter[str] = Counter()
    with (
        open(folder / "examples.jsonl", "wb") as examples,
        open(folder / "index.jsonl", "wb") as index,
        open(folder / "drops.jsonl", "wb") as drops,
        open(folder / "turns.jsonl", "wb") as turns,
        open(folder / "trajectories.txt", "w") as trajectories,
    ):
        for candidate, outcome in found:
            selected += 1
            trajectories.write(candidate.trajectory.id + "\n")
            if isinstance(outcome, Dropped):
                dropped[outcome.reason] += 1
                drop = Drop(
                    trajectory=candidate.trajectory.id, stage="trajectory", reason=outcome.reason, words=outcome.words
                )
                drops.write(orjson.dumps(drop.model_dump()) + b"\n")
            else:
                line = outcome.model_dump_json().encode() + b"\n"
                examples.write(line)
                kept = (0, 0)
                if "agent_sft" in recipe.formats:
                    row = orjson.dumps(baseline(candidate.trajectory)) + b"\n"
                    kept = (turns.tell(), turns.write(row))
                entry = _entry(outcome, recipe, offset, len(line), kept)
                index.write(orjson.dumps(entry.model_dump()) + b"\n")
                built += 1
                offset += len(line)
            if progress:
                progress(selected, built)
        summary = Summary(selected=selected, built=built, dropped=dict(sorted(dropped.items())))
    (folder / "done.json").write_bytes(orjson.dumps(summary.model_dump()))
    return summary


def _entry(example: Example, recipe: Recipe, offset: int, length: int, turns: tuple[int, int]) -> Entry:
    needed = sorted(p.rendered for p in example.pieces if p.role == "needed")
    order = hashlib.sha256(f"{recipe.seed}|{example.trajectory_hash}".encode()).hexdigest()
    return Entry(
        key=f"{order}|{example.trajectory}",
        config=example.config,
        id=example.id,
        trajectory=example.trajectory,
        fingerprint=content_hash([example.config, example.question, example.answer, needed]),
        group=example.group,
        answer=hashlib.sha256(example.ground_truth.encode()).hexdigest(),
        question=example.question,
        sources=tuple(sorted({p.blob for p in example.pieces if p.role == "needed"})),
        units=units_of(example, recipe.split),
        sketch=example.sketch,
        offset=offset,
        length=length,
        turns=turns,
    )
