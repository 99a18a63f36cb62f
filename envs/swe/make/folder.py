"""Tasks from a healthy local repository and a known bug: for demonstrations, tests and hand-made task sets.

    edit = Edit("shop/cart.py", "total += price * count", "total += price")
    task, reference = make_task_from_folder(folder, [edit], blobs, id=..., issue=..., fail_to_pass=[...])

`measure` finds the test ids by running the suite, where they are not known beforehand.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from envs.blobs import BlobStore
from envs.errors import TaskError
from envs.swe.difficulty import difficulty_of
from envs.swe.gitdir import File
from envs.swe.make.suite import PYTEST, Suite, belongs_to_tests, is_test_file, passed, steady
from envs.swe.patch import diff
from envs.swe.sandbox import Sandboxes
from envs.swe.tree import files_of_folder, media, store_tree
from envs.swe.world import SweReference, SweWorld
from envs.task import Limits, Reference, Task


@dataclass(frozen=True)
class Edit:
    """One change of a file: the text `old`, which stands in it exactly once, becomes `new`."""

    path: str
    old: str
    new: str


def make_task_from_folder(
    folder: Path,
    bug: Sequence[Edit],
    blobs: BlobStore,
    *,
    id: str,
    issue: str,
    fail_to_pass: Sequence[str],
    pass_to_pass: Sequence[str] = (),
    repository: str = "",
    split: str = "train",
    licence: str | None = None,
    limits: Limits | None = None,
) -> tuple[Task, Reference]:
    """`folder` holds the healthy repository with its tests; `bug` breaks it. Test ids are pytest's
    (`tests/test_x.py::test_y`). Needs no sandbox. Raises `TaskError` where an edit does not fit.
    """
    healthy = files_of_folder(folder)
    return assemble(
        healthy,
        apply_edits(healthy, bug),
        blobs,
        id=id,
        issue=issue,
        fail_to_pass=fail_to_pass,
        pass_to_pass=pass_to_pass,
        repository=repository or folder.name,
        split=split,
        licence=licence,
        limits=limits or Limits(),
    )


async def measure(
    folder: Path, bug: Sequence[Edit], sandboxes: Sandboxes, suite: Suite | None = None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(fail_to_pass, pass_to_pass): the tests that pass in the healthy repository, by whether the bug breaks them.

    Raises `TaskError` where the bug breaks none, `SandboxError` where the sandbox fails.
    """
    suite = suite or Suite()
    healthy = files_of_folder(folder)
    tests = [path for path in healthy if is_test_file(path)]
    good = await steady(sandboxes, suite, healthy, tests)
    kept = set(passed(await suite.run(sandboxes, apply_edits(healthy, bug), tests)))
    broken = tuple(id for id in good if id not in kept)
    if not broken:
        raise TaskError(f"the bug in {', '.join(e.path for e in bug)} breaks none of {len(good)} passing tests")
    return broken, tuple(id for id in good if id in kept)


def apply_edits(files: dict[str, File], edits: Iterable[Edit]) -> dict[str, File]:
    """The files after the edits. Raises `TaskError` naming the file and what does not fit."""
    out = dict(files)
    for edit in edits:
        if edit.path not in out:
            raise TaskError(f"the edit names {edit.path}, which is not in the repository")
        text = out[edit.path].data.decode("utf-8")
        if text.count(edit.old) != 1:
            raise TaskError(f"the edit's text stands {text.count(edit.old)} times in {edit.path}, not once")
        out[edit.path] = File(text.replace(edit.old, edit.new).encode(), out[edit.path].mode)
    return out


def assemble(
    healthy: dict[str, File],
    broken: dict[str, File],
    blobs: BlobStore,
    *,
    id: str,
    issue: str,
    fail_to_pass: Sequence[str],
    pass_to_pass: Sequence[str],
    repository: str,
    split: str = "train",
    licence: str | None = None,
    limits: Limits | None = None,
    image: str | None = None,
    workdir: str = "/testbed",
    command: str = PYTEST,
    log: str | None = None,
) -> tuple[Task, Reference]:
    """Store the trees and write the task. Test modules that hold a failing test are not in the agent's tree; every
    file that belongs to the tests is put in place again when the answer is judged. `log` is a run of the failing
    tests, where there was one."""
    told = {id.partition("::")[0] for id in fail_to_pass}
    tree = store_tree({path: file for path, file in broken.items() if path not in told}, blobs)
    hidden = {
        path: blobs.put(file.data, *media(file.data)).hash
        for path, file in healthy.items()
        if path in told or belongs_to_tests(path)
    }
    gold = reverse_diff(healthy, broken)
    reference = SweReference(
        gold_patch=gold,
        hidden_tests=hidden,
        fail_to_pass=tuple(fail_to_pass),
        pass_to_pass=tuple(pass_to_pass),
        test_command=command,
    )
    world = SweWorld(
        repository=repository,
        tree=tree,
        image=image,
        workdir=workdir,
        difficulty=difficulty_of(broken, healthy, fail_to_pass, log),
    )
    task = Task(
        id=id,
        environment="swe",
        question=issue,
        world=world.model_dump(mode="json"),
        split=split,
        group=repository,
        licence=licence,
        limits=limits or Limits(),
    )
    return task, Reference(data=reference.model_dump(mode="json"))


def reverse_diff(healthy: Mapping[str, File], broken: Mapping[str, File]) -> str:
    """The patch that makes the broken files healthy again."""
    changed = [path for path in sorted(set(healthy) | set(broken)) if healthy.get(path) != broken.get(path)]
    return "".join(diff(path, _text(broken.get(path)), _text(healthy.get(path))) for path in changed)


def _text(file: File | None) -> str | None:
    return None if file is None else file.data.decode("utf-8")
