"""The software policy on bugs planted in real packages, fetched from the registry when the test runs."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from api.oracle import Known, OracleSettings
from envs.blobs import MemoryBlobs
from envs.environment import Site
from envs.swe.environment import SweEnvironment
from envs.swe.make.package import make_tasks

Drive = Callable[..., Awaitable[list[Any]]]


@pytest.mark.needs("docker", "network")
@pytest.mark.parametrize("package", ["iniconfig", "inflection"])
async def test_it_mends_every_planted_bug_and_near_misses_mend_none(package: str, tmp_path: Path, drive: Drive) -> None:
    site = Site(root=tmp_path, blobs=MemoryBlobs())
    environment = SweEnvironment(site)
    try:
        made = await make_tasks(package, environment.sandboxes, site.blobs, count=3)
        known = [Known(task, reference) for task, reference in made.tasks]
        mended = await drive(environment, known, OracleSettings(detours=0.2), at_once=2)
        missed = await drive(environment, known, OracleSettings(wrong=1.0), at_once=2)
    finally:
        await environment.close()
    assert len(known) == 3
    assert [score.words for _, _, score in mended if not score.right] == []
    assert [score.words for _, _, score in missed if score.value] == []
