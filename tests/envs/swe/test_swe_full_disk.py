"""A machine whose disk is full costs nobody a reward: each symptom that the soak showed, on an engine whose disk was
filled."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from envs.blobs import MemoryBlobs
from envs.environment import Site
from envs.errors import SandboxError
from envs.score import Submission
from envs.swe.disk import refuse_full_disk, speaks_of_full_disk
from envs.swe.environment import SweEnvironment
from envs.swe.sandbox import Output, Sandbox
from envs.swe.tools import BASH, EDITOR, SUBMIT
from envs.swe.world import SweReference
from envs.task import Reference, Task
from tests.acceptance.engine import OwnEngine, own_engine


@pytest.fixture(scope="module")
def engine(base_image: str) -> Iterator[OwnEngine]:
    with own_engine() as it:
        it.take(base_image)
        yield it


@pytest.fixture
async def world(engine: OwnEngine, tmp_path: Path, blobs: MemoryBlobs) -> AsyncIterator[SweEnvironment]:
    environment = SweEnvironment(Site(tmp_path, blobs, {"docker_url": engine.url}))
    yield environment
    await environment.close()


@pytest.mark.needs("docker")
async def test_a_patch_that_a_full_disk_kept_from_being_written_is_not_worth_0(
    engine: OwnEngine, world: SweEnvironment, pair: tuple[Task, Reference]
) -> None:
    session = await world.start(pair[0], {})
    await session.call("bash", BASH.parse({"command": "echo more >> shop/cart.py"}))
    calls = {
        "bash": BASH.parse({"command": "head -c 30M /dev/zero > fill"}),
        "str_replace_editor": EDITOR.parse({"command": "create", "path": "/tmp/p", "file_text": "x" * 60_000}),
        "submit": SUBMIT.parse({}),
    }
    with engine.filled():
        for tool, arguments in calls.items():
            with pytest.raises(SandboxError, match="the disk below the sandbox is full"):
                await session.call(tool, arguments)
    await session.call("bash", BASH.parse({"command": "rm -f fill"}))
    handed = await session.call("submit", SUBMIT.parse({}))
    assert handed.submission is not None
    assert handed.submission.text.count("diff --git") == 1
    await session.close()


@pytest.mark.needs("docker")
async def test_a_patch_that_is_tested_on_a_full_disk_is_not_worth_0(
    engine: OwnEngine, world: SweEnvironment, pair: tuple[Task, Reference]
) -> None:
    gold = Submission(kind="patch", text=SweReference.model_validate(pair[1].data).gold_patch)
    writes = "head -c 30M /dev/zero > /tmp/x && python3 -m pytest -q -rA -p no:cacheprovider"
    reference = Reference(data={**pair[1].data, "test_command": writes})
    with engine.filled(), pytest.raises(SandboxError, match=r"disk below the sandbox is full|no space left"):
        await world.score(pair[0], reference, gold)
    assert (await world.score(pair[0], reference, gold)).right


async def test_words_alone_do_not_make_a_disk_full() -> None:
    class Roomy:
        def __init__(self, free: int) -> None:
            self.free = free

        async def execute(self, argv: list[str], seconds: float, stdin: bytes = b"", workdir: str = "/") -> Output:  # noqa: ARG002
            table = f"Filesystem 1024-blocks Used Available Capacity Mounted on\noverlay 9 9 {self.free} 100% /\n"
            return Output(table.encode(), 0, 0, 0, "exited", 0.0)

    roomy: Sandbox = Roomy(1 << 20)  # type: ignore[assignment]
    full: Sandbox = Roomy(12)  # type: ignore[assignment]
    for words in (b"OSError: [Errno 28] No space left on device", b"write error. Out of diskspace", b"ENOSPC: x"):
        assert speaks_of_full_disk(words)
    assert not speaks_of_full_disk(b"errno 281, space")
    await refuse_full_disk(roomy, "/testbed")
    with pytest.raises(SandboxError, match="the disk below the sandbox is full"):
        await refuse_full_disk(full, "/testbed")
