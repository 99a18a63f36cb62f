"""Running a repository's own tests in a sandbox, to know which pass and which a bug breaks."""

import asyncio
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from envs.errors import TaskError
from envs.swe.engine.baseimage import BASE_IMAGE
from envs.swe.engine.owner import PROCESS, this_process
from envs.swe.gitdir import File
from envs.swe.sandbox import Bounds, Sandboxes, SandboxSpec
from envs.swe.scoring import Checked, run_tests
from envs.swe.tree import seed
from envs.swe.world import SweReference

AGENT_ID = 1000
PYTEST = "python3 -m pytest -q -rA -p no:cacheprovider"


@dataclass(frozen=True)
class Suite:
    """How one repository's tests are run."""

    image: str | None = None
    """None means trajc's base image; in any other the tests run as root, and what was built there stays."""
    workdir: str = "/testbed"
    command: str = PYTEST
    targets: tuple[str, ...] = ()
    """See `SweReference.test_targets`."""
    seconds: float = 300
    service: str = "trajc"
    """Whose sandboxes they are."""

    async def run(
        self, sandboxes: Sandboxes, files: Mapping[str, File], tests: Sequence[str], known: Sequence[str] = ()
    ) -> Checked:
        """The outcome of each test of `tests` (paths) in a fresh sandbox. `known` are ids of theirs, as far as they are
        known: a log alone does not always say where an id ends. Raises `SandboxError`."""
        base = self.image is None
        spec = SandboxSpec(
            image=self.image or BASE_IMAGE,
            workdir=self.workdir,
            user="agent" if base else "root",
            seed=await asyncio.to_thread(seed, files, self.workdir, AGENT_ID if base else 0),
            clear=not base,
            labels={"service": self.service, "use": "make", "host": socket.gethostname(), PROCESS: this_process()},
            seconds=self.seconds + 120,
            bounds=Bounds(),
        )
        reference = SweReference(
            fail_to_pass=("-",), test_command=self.command, test_targets=self.targets, test_seconds=self.seconds
        )
        sandbox = await sandboxes.start(spec)
        try:
            return await run_tests(sandbox, self.workdir, reference, (*(f"{path}::" for path in tests), *known))
        finally:
            await sandbox.close()


def is_test_file(path: str) -> bool:
    """A module that pytest would collect by its default names."""
    pure = PurePosixPath(path)
    return pure.suffix == ".py" and (pure.name.startswith("test_") or pure.stem.endswith("_test"))


def belongs_to_tests(path: str) -> bool:
    """Test modules and what lies beside them: helpers, data, conftest."""
    parts = PurePosixPath(path).parts
    return (
        is_test_file(path) or parts[-1] == "conftest.py" or any(p in ("test", "tests", "testing") for p in parts[:-1])
    )


def passed(checked: Checked) -> tuple[str, ...]:
    return tuple(sorted(id for id, outcome in checked.outcomes.items() if outcome == "passed"))


async def steady(
    sandboxes: Sandboxes, suite: Suite, files: Mapping[str, File], tests: Sequence[str]
) -> tuple[str, ...]:
    """Tests that pass twice in a row: what passes once only is flaky and left out.

    Raises `TaskError` where no test passes, with the run's last words.
    """
    first = await suite.run(sandboxes, files, tests)
    second = await suite.run(sandboxes, files, tests)
    both = tuple(id for id in passed(first) if second.outcomes.get(id) == "passed")
    if not both:
        raise TaskError(f"no test passes in the healthy repository: {first.log.strip()[-600:]}")
    return both
