"""Running a repository's own tests in a sandbox, to know which pass and which a bug breaks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from envs.errors import TaskError
from envs.swe.engine.baseimage import BASE_IMAGE
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

    image: str = BASE_IMAGE
    workdir: str = "/testbed"
    command: str = PYTEST
    seconds: float = 300

    async def run(self, sandboxes: Sandboxes, files: Mapping[str, File], tests: Sequence[str]) -> Checked:
        """The outcome of each test of `tests` (paths) in a fresh sandbox. Raises `SandboxError`."""
        spec = SandboxSpec(
            image=self.image,
            workdir=self.workdir,
            seed=seed(files, self.workdir, AGENT_ID),
            labels={"service": "trajc", "use": "make"},
            seconds=self.seconds + 120,
            bounds=Bounds(),
        )
        sandbox = await sandboxes.start(spec)
        try:
            reference = SweReference(fail_to_pass=("-",), test_command=self.command, test_seconds=self.seconds)
            asked = tuple(f"{path}::" for path in tests)
            return await run_tests(sandbox, self.workdir, reference, asked)
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
