"""Which parts of a patch are judged: changes of the source, and not of what decides whether it is right.

Left out are test modules and what lies beside them, configuration of test runners, start-up hooks, and names that
would hide a test runner or the standard library. What the gold patch itself changes may be changed.
"""

import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import PurePosixPath

from envs.swe.patch import FilePatch, split, touched, without
from envs.swe.tree import safe_path
from envs.swe.world import SweReference

CONFIG_NAMES = frozenset(
    (
        *("conftest.py", "pytest.ini", ".pytest.ini", "pytest.toml", ".pytest.toml", "tox.ini", "setup.cfg"),
        *("pyproject.toml", "sitecustomize.py", "usercustomize.py", ".coveragerc", "noxfile.py", "pyvenv.cfg"),
        *(".gitattributes", ".gitmodules"),
    )
)
"""Files that change how tests are found, run or reported, or how a patch is applied."""
CONFIG_SUFFIXES = (".pth", ".egg-link", ".pyc", ".so")
"""What Python runs or loads before, or in the place of, a source that can be read."""
RUNNERS = frozenset(
    (
        *("pytest", "_pytest", "pluggy", "iniconfig", "packaging", "exceptiongroup", "py", "coverage", "trajc_report"),
        *("tomli", "attr", "pygments", "xdist", "execnet"),
    )
)
LOCKED_SUFFIXES = (".py", ".ini", ".cfg", ".toml")
TEST_FOLDERS = frozenset(("test", "tests"))
HOOK = re.compile(r"^([+-])\s*(?:async\s+)?def\s+(pytest_\w+)", re.MULTILINE)


def kept_part(patch: str, reference: SweReference, tree: Mapping[str, object]) -> tuple[str, list[str]]:
    """The patch without what tests must not see changed, and the paths taken out."""
    decides = decider(reference, tree)

    def drop(part: FilePatch) -> bool:
        return any(decides(path) for path in part.paths)

    return without(patch, drop)


def brought_hooks(patch: str, reference: SweReference) -> list[tuple[str, str]]:
    """Path and name of pytest's hooks that a patch adds to files and the gold patch does not. Those that a file had
    already may be called: a repository's conftest.py may take them from it, and mending may change them."""
    gold = set(_hooks(reference.gold_patch, "+"))
    return sorted(set(_hooks(patch, "+")) - set(_hooks(patch, "-")) - gold)


def _hooks(patch: str, sign: str) -> Iterator[tuple[str, str]]:
    return ((part.path, m[2]) for part in split(patch) for m in HOOK.finditer(part.text) if m[1] == sign)


def decider(reference: SweReference, tree: Mapping[str, object]) -> Callable[[str], bool]:
    """Whether a path has a say in what is right, and is not the gold patch's to change."""
    allowed = set(touched(reference.gold_patch))
    folders = test_folders(reference)

    def decides(path: str) -> bool:
        if path in reference.hidden_tests or not safe_path(path):
            return True
        ours = is_test_config(path, tree) or is_test_module(path) or any(f"{path}/".startswith(f) for f in folders)
        return ours and path not in allowed

    return decides


def locked(reference: SweReference, tree: Mapping[str, object]) -> tuple[str, ...]:
    """Modules and settings that nothing which runs with the tests may write over. Data beside them is not among
    them: tests do write to that."""
    decides = decider(reference, tree)
    paths = {*tree, *reference.hidden_tests}
    return tuple(sorted(p for p in paths if decides(p) and PurePosixPath(p).suffix in LOCKED_SUFFIXES))


def is_test_config(path: str, tree: Mapping[str, object]) -> bool:
    """Whether a change of this path could make tests pass that would not, without being a test itself."""
    pure = PurePosixPath(path)
    if pure.name in CONFIG_NAMES or pure.suffix in CONFIG_SUFFIXES:
        return True
    if any(part.endswith((".egg-info", ".dist-info")) or part == "__pycache__" for part in pure.parts):
        return True
    top = pure.parts[0].removesuffix(".py")
    hides = top in RUNNERS or top in sys.stdlib_module_names
    return hides and not any(p == path or p.startswith(pure.parts[0] + "/") for p in tree)


def is_test_module(path: str) -> bool:
    """A module that test runners find by its name."""
    pure = PurePosixPath(path)
    return pure.suffix == ".py" and (pure.name.startswith("test_") or pure.stem.endswith("_test"))


def test_folders(reference: SweReference) -> Collection[str]:
    """Folders called `tests` or `test` that hold a test which is asked for: its helpers and data lie there too."""
    asked = {id.partition("::")[0] for id in (*reference.fail_to_pass, *reference.pass_to_pass) if "::" in id}
    found = set()
    for path in asked | set(reference.hidden_tests):
        parts = PurePosixPath(path).parts
        for depth, part in enumerate(parts[:-1], 1):
            if part in TEST_FOLDERS:
                found.add("/".join(parts[:depth]) + "/")
                break
    return found
