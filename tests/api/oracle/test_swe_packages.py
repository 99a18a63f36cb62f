"""The software policy on bugs planted in real packages, fetched from the registry when the test runs.

TRAJC_SOAK_N=full is the whole of it, ten bugs in each of three packages; by default it is small.
"""

import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from api.oracle import Known, OracleSettings
from envs.blobs import MemoryBlobs
from envs.environment import Site
from envs.score import Submission
from envs.swe.environment import SweEnvironment
from envs.swe.make.package import make_tasks
from envs.swe.verify import verify
from envs.swe.world import SweReference, SweWorld

Drive = Callable[..., Awaitable[list[Any]]]

FULL = os.environ.get("TRAJC_SOAK_N") == "full"
PACKAGES = ("inflection", "toolz", "iniconfig") if FULL else ("iniconfig",)
BUGS = 10 if FULL else 3


def misplaced(patch: str) -> str:
    """The right change, in a new file that nothing imports."""
    lines = [line for line in patch.splitlines(keepends=True) if line[:1] in "+ " and not line.startswith("+++")]
    body = "".join("+" + line[1:] for line in lines)
    head = "diff --git a/mended.py b/mended.py\nnew file mode 100644\n--- /dev/null\n+++ b/mended.py\n"
    return f"{head}@@ -0,0 +1,{len(lines)} @@\n{body}"


@pytest.mark.soak
@pytest.mark.needs("docker", "network")
@pytest.mark.timeout(1700)
@pytest.mark.parametrize("package", PACKAGES)
async def test_planted_bugs_hold_twice_are_mended_by_the_oracle_and_by_no_near_miss(
    package: str, tmp_path: Path, drive: Drive
) -> None:
    began = time.monotonic()
    site = Site(root=tmp_path, blobs=MemoryBlobs())
    environment = SweEnvironment(site)
    try:
        made = await make_tasks(package, environment.sandboxes, site.blobs, count=BUGS, seed=1, parallel=3)
        found = time.monotonic()
        for task, reference in made.tasks:
            assert await verify(task, reference, environment.sandboxes, site.blobs) == (), task.id
            gold = SweReference.model_validate(reference.data).gold_patch
            for wrong in ("", misplaced(gold)):
                score = await environment.score(task, reference, Submission(kind="patch", text=wrong))
                assert score.value == 0.0, (task.id, score.words)
        known = [Known(task, reference) for task, reference in made.tasks]
        mended = await drive(environment, known, OracleSettings(detours=0.2), at_once=2)
        missed = await drive(environment, known, OracleSettings(wrong=1.0), at_once=2)
    finally:
        await environment.close()
    assert len(known) == BUGS
    assert made.tried == BUGS + sum(made.dropped.values())
    assert [score.words for _, _, score in mended if not score.right] == []
    assert [score.words for _, _, score in missed if score and score.value] == []
    estimates = sorted(SweWorld.model_validate(task.world).difficulty.estimate for task, _ in made.tasks)  # type: ignore[union-attr]
    print(
        f"\n{made.package} {made.version}: {made.healthy_tests} steady tests; {made.tried} bugs tried, {BUGS} kept in "
        f"{found - began:.0f} s, dropped {made.dropped}; all held twice, {len(mended)} mended by the oracle, "
        f"{len(missed) + 2 * BUGS} near misses without reward, in {time.monotonic() - began:.0f} s; operators "
        f"{sorted({bug[0].operator for bug in made.bugs})}; difficulty {estimates[0]} to {estimates[-1]}"
    )
