"""What a software-engineering task names, and what scores it."""

from typing import Literal

from pydantic import Field

from envs.frozen import Frozen
from envs.swe.difficulty import Difficulty


class TreeFile(Frozen):
    """One file of a base tree."""

    blob: str
    """Hash of its bytes (for a symbolic link: of its target)."""
    size: int
    mode: Literal["100644", "100755", "120000"] = "100644"


class Tree(Frozen):
    """A repository's files without history: path from the root -> file. Stored as one blob of canonical JSON."""

    files: dict[str, TreeFile]


class SweWorld(Frozen):
    repository: str = Field(min_length=1)
    tree: str = Field(min_length=64, max_length=64)
    """Hash of the `Tree` blob: what the agent finds in `workdir`."""
    image: str | None = None
    """Image to start; None means trajc's base image."""
    image_digest: str | None = None
    workdir: str = "/testbed"
    difficulty: Difficulty | None = None
    """Counts and an estimate; the model is not told."""


class SweReference(Frozen):
    gold_patch: str = ""
    """A unified diff against the tree."""
    hidden_tests: dict[str, str] = {}
    """Path -> blob hash of the test files that are put in place before the tests run."""
    fail_to_pass: tuple[str, ...] = Field(min_length=1)
    pass_to_pass: tuple[str, ...] = ()
    test_command: str = "python3 -m pytest -q -rA -p no:cacheprovider"
    """Run in `workdir`; test file paths are appended."""
    test_targets: tuple[str, ...] = ()
    """What is appended instead, for runners that do not take paths."""
    test_seconds: float = 300
