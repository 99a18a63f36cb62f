"""A week of queueing does not grow a process: what a rollout took is free when it has ended."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FULL = os.environ.get("TRAJC_SOAK_N") == "full"
ROUNDS, ROLLOUTS = (40, 500) if FULL else (8, 150)


@pytest.mark.soak
def test_a_process_that_has_done_many_rollouts_holds_no_more_than_one_that_has_done_few(tmp_path: Path) -> None:
    """A rollout here is 4 KB of text: were a tenth of it kept, the second half would show it."""
    script = Path(__file__).with_name("growing_worker.py")
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, script, tmp_path, str(ROUNDS), str(ROLLOUTS)],
        stdout=subprocess.PIPE,
        check=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    held = json.loads(done.stdout)
    assert len(held) == ROUNDS
    half = ROUNDS // 2
    grown = min(held[half:][-3:]) - max(held[half - 2 : half])
    assert grown < 400 * ROLLOUTS * (ROUNDS - half) + (1 << 20), held
