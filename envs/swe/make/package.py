"""Tasks from a real package: its tests run, bugs planted, and those kept that make passing tests fail."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from envs.blobs import BlobStore
from envs.errors import TaskError
from envs.swe.gitdir import File
from envs.swe.make.folder import assemble
from envs.swe.make.issue import issue_text
from envs.swe.make.mutate import Mutant, mutants
from envs.swe.make.sdist import Package, package_of
from envs.swe.make.suite import Suite, passed, steady
from envs.swe.sandbox import Sandboxes
from envs.task import Limits, Reference, Task

MOST_BROKEN = 0.5
"""A bug that breaks a larger share of the tests is too plain to be a task."""
TRIES = 12
"""Bugs tried for each task wanted."""


@dataclass(frozen=True)
class Made:
    """Tasks with their references, and what became of every bug that was tried: tried = kept + dropped."""

    package: str
    version: str
    healthy_tests: int
    tasks: tuple[tuple[Task, Reference], ...]
    bugs: tuple[tuple[Mutant, ...], ...]
    """Of each task, in the order of `tasks`."""
    tried: int
    dropped: dict[str, int] = field(default_factory=dict)
    """By reason."""


@dataclass(frozen=True)
class Kept:
    bug: tuple[Mutant, ...]
    files: dict[str, File]
    broken: tuple[str, ...]
    log: str


async def make_tasks(
    archive_or_name: str,
    sandboxes: Sandboxes,
    blobs: BlobStore,
    *,
    count: int = 10,
    seed: int = 0,
    bugs: int = 1,
    parallel: int = 2,
    limits: Limits | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Made:
    """`count` tasks (fewer where the package has no more bugs to give) of `bugs` planted bugs each.

    The same archive, seed and arguments give the same tasks. Raises `TaskError` where the package cannot be had or
    its tests do not run, `SandboxError` where the sandbox fails.
    """
    package = await package_of(archive_or_name)
    suite = Suite(command=package.command)
    say(f"{package.name} {package.version}: running {len(package.tests)} test modules twice")
    good = await steady(sandboxes, suite, package.files, package.tests)
    tests = sorted({id.partition("::")[0] for id in good})
    candidates = plan(package, seed, bugs)[: count * TRIES]
    if not candidates:
        raise TaskError(f"{package.name} has no source in which a bug could be planted")
    say(f"{len(good)} tests pass; trying {len(candidates)} bugs")
    kept: list[Kept] = []
    dropped: Counter[str] = Counter()
    tried = 0
    for batch in _batches(candidates, parallel):
        if len(kept) >= count:
            break
        found = await _together([_try(sandboxes, suite, package, bug, good, tests) for bug in batch])
        for outcome in found:
            tried += 1
            if isinstance(outcome, str):
                dropped[outcome] += 1
            elif len(kept) >= count:
                dropped["not needed"] += 1
            else:
                kept.append(outcome)
                say(f"{len(kept)} of {count}: {outcome.bug[0].operator}, {len(outcome.broken)} tests fail")
    pairs = tuple(_task(package, good, one, n, seed, blobs, limits) for n, one in enumerate(kept))
    return Made(
        package=package.name,
        version=package.version,
        healthy_tests=len(good),
        tasks=pairs,
        bugs=tuple(one.bug for one in kept),
        tried=tried,
        dropped=dict(sorted(dropped.items())),
    )


def plan(package: Package, seed: int, bugs: int = 1) -> list[tuple[Mutant, ...]]:
    """The bugs in the order to try them: shuffled by the seed, one of each operator in turn, no function twice
    before all had one. Several bugs at once lie in different functions."""
    chance = random.Random(f"{package.name} {package.version} {seed}")
    by_operator: dict[str, list[Mutant]] = {}
    for path in package.sources:
        for mutant in mutants(path, package.files[path].data):
            by_operator.setdefault(mutant.operator, []).append(mutant)
    for group in by_operator.values():
        chance.shuffle(group)
    turns = [m for turn in _turns([by_operator[name] for name in sorted(by_operator)]) for m in turn]
    seen: Counter[tuple[str, str]] = Counter()
    ranked: list[tuple[int, int, Mutant]] = []
    for n, mutant in enumerate(turns):
        key = mutant.path, mutant.function
        ranked.append((seen[key], n, mutant))
        seen[key] += 1
    order = [mutant for _, _, mutant in sorted(ranked, key=lambda r: r[:2])]
    if bugs == 1:
        return [(m,) for m in order]
    return [group for group in _groups(order, bugs) if len({(m.path, m.function) for m in group}) == bugs]


def _turns(groups: Sequence[list[Mutant]]) -> Iterator[list[Mutant]]:
    for n in range(max(map(len, groups), default=0)):
        yield [group[n] for group in groups if n < len(group)]


def _groups(order: list[Mutant], size: int) -> Iterator[tuple[Mutant, ...]]:
    for n in range(0, len(order) - size + 1, size):
        yield tuple(order[n : n + size])


def _batches(items: Sequence[tuple[Mutant, ...]], size: int) -> Iterator[Sequence[tuple[Mutant, ...]]]:
    for n in range(0, len(items), size):
        yield items[n : n + size]


async def _together(work: Sequence[Coroutine[Any, Any, "Kept | str"]]) -> list["Kept | str"]:
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in work]
    except ExceptionGroup as e:
        raise e.exceptions[0] from None
    return [task.result() for task in tasks]


def planted(files: dict[str, File], bug: Sequence[Mutant]) -> dict[str, File]:
    """The files with the bugs in them; later places first, so that earlier ones do not move."""
    out = dict(files)
    for mutant in sorted(bug, key=lambda m: -m.change.begin):
        out[mutant.path] = File(mutant.apply(out[mutant.path].data), out[mutant.path].mode)
    return out


async def _try(
    sandboxes: Sandboxes,
    suite: Suite,
    package: Package,
    bug: tuple[Mutant, ...],
    good: Sequence[str],
    tests: Sequence[str],
) -> "Kept | str":
    """The bug as it showed itself twice in the same way, or why it is no task."""
    files = planted(package.files, bug)
    first = await suite.run(sandboxes, files, tests)
    if first.timed_out:
        return "the tests do not end"
    kept = set(passed(first))
    broken = tuple(id for id in good if id not in kept)
    if not broken:
        return "no test fails"
    if len(broken) > MOST_BROKEN * len(good):
        return "most tests fail"
    if any(first.outcomes.get(id) != "failed" for id in broken):
        return "tests do not run"
    second = await suite.run(sandboxes, files, tests)
    if tuple(id for id in good if second.outcomes.get(id) != "passed") != broken:
        return "flaky"
    return Kept(bug, files, broken, first.log)


def _task(
    package: Package, good: Sequence[str], kept: Kept, n: int, seed: int, blobs: BlobStore, limits: Limits | None
) -> tuple[Task, Reference]:
    return assemble(
        package.files,
        kept.files,
        blobs,
        id=f"swe-{package.name.lower()}-{package.version}-s{seed}-{n:03}",
        issue=issue_text(package.name, kept.broken, kept.log, package.command),
        fail_to_pass=kept.broken,
        pass_to_pass=[id for id in good if id not in set(kept.broken)],
        repository=package.name,
        licence=package.licence,
        limits=limits,
        command=package.command,
    )
