"""Whether memory grows with the number of trajectories: peak resident size for 1,000 and for 20,000 of them."""

import random
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from compiler.candidate import Candidate
from compiler.compilation import compile_dataset
from compiler.recipe import Recipe
from envs.blobs import Blob, MemoryBlobs
from envs.evidence import FULL, Evidence
from envs.score import Score, Submission
from envs.task import Reference, Task
from envs.tool import ToolResult
from rollout.trajectory import ToolCall, ToolStep, Trajectory

FEW, MANY = 1_000, 20_000
DOCUMENTS = 200
SCORE = Score(scorer="s", version="1", value=1.0, verdict="right")
CALL = ToolCall(id="c", name="visit", arguments="{}")


def candidates(blobs: list[Blob], count: int) -> Iterator[Candidate]:
    """Each visits three of the documents and asks something of its own."""
    rng = random.Random(0)
    for n in range(count):
        steps = []
        for d in rng.sample(range(DOCUMENTS), 3):
            found = Evidence(
                kind="document", source=f"d{d}", version="1", how="opened", coverage=FULL, blob=blobs[d], title=f"D{d}"
            )
            steps.append(ToolStep(call=0, tool_call=CALL, message=0, result=ToolResult(text="", evidence=(found,))))
        trajectory = Trajectory(
            id=f"t{n}",
            run="r",
            rollout=f"o{n}",
            attempt=1,
            task=Task(id=f"t{n}", environment="search", question=f"Question {n}?", world={"corpus": "c"}),
            model="m",
            steps=tuple(steps),
            submission=Submission(kind="text", text=f"answer {n}"),
            stop="answered",
        )
        yield Candidate(trajectory=trajectory, reference=Reference(data={"answers": [f"answer {n}"]}), score=SCORE)


def peak(count: int) -> float:
    """MB, of this process."""
    store, rng = MemoryBlobs(), random.Random(1)
    blobs = [store.put(" ".join(str(rng.random()) for _ in range(150)).encode()) for _ in range(DOCUMENTS)]
    with tempfile.TemporaryDirectory() as folder:
        done = compile_dataset(Recipe(), candidates(blobs, count), store, Path(folder), "bench")
        assert done.accounts.published == count, done.accounts
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measured(count: int) -> float:
    done = subprocess.run([sys.executable, __file__, str(count)], capture_output=True, text=True, check=True)
    return float(done.stdout)


def run() -> list[dict[str, Any]]:
    many, few = measured(MANY), measured(FEW)
    ratio = many / few
    name = "compiler/memory_20000_trajectories_over_1000"
    return [
        {"name": name, "ours": many, "other": few, "unit": "MB", "ratio": ratio, "target": "<=1.2", "met": ratio <= 1.2}
    ]


if __name__ == "__main__":
    print(peak(int(sys.argv[1])))
