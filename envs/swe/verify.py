"""Whether a task holds: which of its tests fail before the gold patch and pass after it, each run twice in sandboxes
of its own. What is not alike both times is flaky.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from envs.blobs import BlobStore
from envs.errors import TaskError
from envs.swe.gitdir import File
from envs.swe.make.suite import Suite
from envs.swe.rows import patched
from envs.swe.sandbox import Sandboxes
from envs.swe.scoring import Checked
from envs.swe.tree import laid_over, load_files, load_tree
from envs.swe.world import SweReference, SweWorld
from envs.task import Reference, Task

RUNS = 2
NAMED = 5
"""Test ids that a fault names."""


@dataclass(frozen=True)
class Measured:
    fail_to_pass: tuple[str, ...]
    pass_to_pass: tuple[str, ...]
    flaky: tuple[str, ...]
    """Not alike in two runs, before or after."""
    before: str
    """The log of a run before the patch."""


async def measure(
    sandboxes: Sandboxes,
    suite: Suite,
    before: Mapping[str, File],
    after: Mapping[str, File],
    tests: Sequence[str],
    known: Sequence[str] = (),
    parallel: int = 2,
) -> Measured:
    """`tests` and `known` as `Suite.run` takes them. Both trees hold the hidden tests. `parallel` sandboxes at once.
    Raises `SandboxError`."""
    slots = asyncio.Semaphore(parallel)

    async def run(files: Mapping[str, File]) -> Checked:
        async with slots:
            return await suite.run(sandboxes, files, tests, known)

    try:
        async with asyncio.TaskGroup() as group:
            runs = [group.create_task(run(files)) for files in (before, after) for _ in range(RUNS)]
    except ExceptionGroup as e:
        raise e.exceptions[0] from None
    done = [task.result() for task in runs]
    return told(done[:RUNS], done[RUNS:])


def told(before: Sequence[Checked], after: Sequence[Checked]) -> Measured:
    """A test that did not run failed."""
    ids = sorted({id for run in (*before, *after) for id in run.outcomes})

    def passes(runs: Sequence[Checked], id: str) -> Collection[bool]:
        return {run.outcomes.get(id) == "passed" for run in runs}

    flaky = tuple(id for id in ids if len(passes(before, id)) > 1 or len(passes(after, id)) > 1)
    mended = [id for id in ids if id not in flaky and passes(after, id) == {True}]
    return Measured(
        fail_to_pass=tuple(id for id in mended if passes(before, id) == {False}),
        pass_to_pass=tuple(id for id in mended if passes(before, id) == {True}),
        flaky=flaky,
        before=before[0].log,
    )


async def verify(
    task: Task, reference: Reference, sandboxes: Sandboxes, blobs: BlobStore, service: str = "trajc", parallel: int = 2
) -> tuple[str, ...]:
    """What is wrong with a task's tests, in words; nothing where every one does what its list says, both times.

    Raises `TaskError` where the gold patch does not apply, `SandboxError`.
    """
    world, answer = SweWorld.model_validate(task.world), SweReference.model_validate(reference.data)
    tree = await asyncio.to_thread(lambda: load_files(load_tree(world.tree, blobs), blobs))
    hidden = laid_over(answer.hidden_tests, tree, blobs)
    if not answer.gold_patch.strip():
        raise TaskError(f"{task.id}: it has no gold patch to verify it with")
    mended = await asyncio.to_thread(patched, tree, answer.gold_patch, f"{task.id}: the gold patch")
    suite = Suite(
        image=world.image_digest or world.image if world.image else None,
        workdir=world.workdir,
        command=answer.test_command,
        targets=answer.test_targets,
        seconds=answer.test_seconds,
        service=service,
    )
    known = (*answer.fail_to_pass, *answer.pass_to_pass)
    before, after = {**tree, **hidden}, {**mended, **hidden}
    found = await measure(sandboxes, suite, before, after, test_files(answer), known, parallel)
    return faults(answer, found)


def faults(answer: SweReference, found: Measured) -> tuple[str, ...]:
    wanted = {*answer.fail_to_pass, *answer.pass_to_pass}
    flaky = sorted(wanted & set(found.flaky))
    early = [id for id in answer.fail_to_pass if id in found.pass_to_pass]
    late = sorted(wanted - {*found.fail_to_pass, *found.pass_to_pass, *found.flaky})
    broken = [id for id in answer.pass_to_pass if id in found.fail_to_pass]
    said = [
        ("not alike in two runs", flaky),
        ("FAIL_TO_PASS passes before the gold patch", early),
        ("does not pass after the gold patch", late),
        ("PASS_TO_PASS fails before the gold patch", broken),
    ]
    return tuple(f"{words}: {_named(ids)}" for words, ids in said if ids)


def test_files(answer: SweReference) -> list[str]:
    """The files that the ids name; for ids that name none, the hidden test modules."""
    named = {id.partition("::")[0] for id in (*answer.fail_to_pass, *answer.pass_to_pass) if "::" in id}
    return sorted(named or {path for path in answer.hidden_tests if path.endswith(".py")})


def _named(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - NAMED} more" if len(ids) > NAMED else ""
    return ", ".join(ids[:NAMED]) + more
