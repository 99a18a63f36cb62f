"""What compiling costs beside what it cannot avoid: hashing and writing the bytes, and tokenising the text once.

Documents of about 3,000 tokens, examples of about 100,000; both sides in one process, the best of several turns.
"""

import hashlib
import math
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from compiler.candidate import Candidate
from compiler.compilation import compile_dataset
from compiler.formats.writer import WRITING
from compiler.recipe import Recipe
from compiler.renderings import MemoryRenderings
from compiler.tokens import load_tokenizer, nfc
from envs.blobs import MemoryBlobs
from envs.evidence import FULL, SNIPPET, Evidence
from envs.score import Score, Submission
from envs.task import Reference, Task
from envs.tool import ToolResult
from rollout.trajectory import ToolCall, ToolStep, Trajectory

EXAMPLES = 300
FIRST = 100
"""Of them, compiled for the first time."""
DOCUMENTS = 34
WORDS = 1770


def vocabulary() -> list[str]:
    """Words of the standard library's own sources and docstrings, the frequent ones more often."""
    folder = Path(random.__file__).parent
    words: list[str] = []
    for name in ("argparse", "datetime", "decimal", "inspect", "typing", "tarfile", "pydoc", "turtle"):
        path = folder / f"{name}.py"
        words += (path if path.exists() else folder / f"_py{name}.py").read_text().split()
    return words


def candidates(blobs: MemoryBlobs) -> list[Candidate]:
    rng, words = random.Random(0), vocabulary()
    out = []
    for n in range(EXAMPLES):
        steps = []
        for d in range(DOCUMENTS):
            at = [rng.randrange(len(words) - 12) for _ in range(WORDS // 8)]
            text = "\n".join(" ".join(words[i : i + 8]) for i in at)
            opened = d < 6
            evidence = Evidence(
                kind="document",
                source=f"{n}/{d}",
                version="1",
                how="opened" if opened else "listed",
                coverage=FULL if opened else SNIPPET,
                blob=blobs.put(text.encode()),
                title=f"Document {d}",
                rank=None if opened else d,
            )
            call = ToolCall(id="c", name="visit", arguments="{}")
            steps.append(ToolStep(call=0, tool_call=call, message=0, result=ToolResult(text="", evidence=(evidence,))))
        task = Task(id=f"t{n}", environment="search", question=f"Question {n}?", world={"corpus": "c"})
        trajectory = Trajectory(
            id=f"trajectory-{n}",
            run="r",
            rollout=f"{n}",
            attempt=1,
            task=task,
            model="m",
            steps=tuple(steps),
            submission=Submission(kind="text", text="an answer"),
            stop="answered",
        )
        score = Score(scorer="s", version="1", value=1.0, verdict="right")
        out.append(Candidate(trajectory=trajectory, reference=Reference(data={"answers": ["an answer"]}), score=score))
    return out


def fastest(turns: int, *works: Callable[[], Path | None]) -> list[float]:
    """Seconds of each work's fastest turn; they take turns. What they wrote is removed between the measurements."""
    seconds = [math.inf] * len(works)
    for _ in range(turns):
        for n, work in enumerate(works):
            start = time.perf_counter()
            wrote = work()
            seconds[n] = min(seconds[n], time.perf_counter() - start)
            if wrote is not None:
                shutil.rmtree(wrote)
    return seconds


def hash_and_write(prompts: list[str], folder: Path) -> Path:
    """The same prompts hashed and written to Parquet as the compiler writes it; the file checksummed and synced."""
    path = Path(tempfile.mkdtemp(dir=folder)) / "bare.parquet"
    schema = pa.schema([("id", pa.string()), ("prompt", pa.string())])
    with pq.ParquetWriter(path, schema, **WRITING) as writer:
        for start in range(0, len(prompts), 80):
            rows = [{"id": hashlib.sha256(p.encode()).hexdigest(), "prompt": p} for p in prompts[start : start + 80]]
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))
    with open(path, "rb") as file:
        hashlib.file_digest(file, "sha256")
        os.fsync(file.fileno())
    return path.parent


def run() -> list[dict[str, Any]]:
    folder = Path(tempfile.mkdtemp())
    try:
        return _run(folder)
    finally:
        shutil.rmtree(folder)


def _run(folder: Path) -> list[dict[str, Any]]:
    blobs, seen, tokenizer = MemoryBlobs(), MemoryRenderings(), load_tokenizer("qwen3")
    rows, recipe = candidates(blobs), Recipe(runs=("r",))

    few = rows[:FIRST]

    def tokenise() -> None:
        for candidate in few:
            for _, evidence in candidate.trajectory.evidence:
                assert evidence.blob is not None
                tokenizer.count(nfc(blobs.get(evidence.blob.hash).decode()))

    def compile_with(known: MemoryRenderings, rows: list[Candidate]) -> Path:
        return compile_dataset(recipe, rows, blobs, Path(tempfile.mkdtemp(dir=folder)), "bench", known=known).path

    version = compile_with(seen, rows)
    table = pq.read_table(version / "canonical")
    prompts, tokens = table["prompt"].to_pylist(), sum(table["tokens"].to_pylist())
    size = sum(len(p.encode()) for p in prompts) / 1e6
    known, bare = fastest(5, lambda: compile_with(seen, rows), lambda: hash_and_write(prompts, folder))
    before = time.process_time()
    again = compile_with(seen, rows)
    worked = time.process_time() - before
    shutil.rmtree(again)
    first, alone = fastest(3, lambda: compile_with(MemoryRenderings(), few), tokenise)
    print(
        f"{len(prompts)} examples of {tokens // len(prompts):,} tokens, {size:.0f} MB; known counts: {worked:.2f} s of"
        f" processor time, at least {worked / (os.cpu_count() or 1):.2f} s on {os.cpu_count()} processors"
    )
    return [
        _row("compiler/assemble_known_counts", size / known, size / bare, "MB/s", ">=0.8"),
        _row("compiler/first_compilation", first, alone, "s", "<=1.3"),
    ]


def _row(name: str, ours: float, other: float, unit: str, target: str) -> dict[str, Any]:
    ratio, bound = ours / other, float(target[2:])
    met = ratio >= bound if target.startswith(">=") else ratio <= bound
    return {"name": name, "ours": ours, "other": other, "unit": unit, "ratio": ratio, "target": target, "met": met}


if __name__ == "__main__":
    for row in run():
        print(row)
