"""Tasks from a real package: its tests run, bugs planted, and those kept that make passing tests fail."""

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import astuple, dataclass, field, replace
from functools import partial
from typing import Protocol

from envs.blobs import BlobStore
from envs.errors import TaskError
from envs.frozen import content_hash
from envs.swe.make.folder import assemble
from envs.swe.make.issue import issue_text
from envs.swe.make.plan import Bug, plan
from envs.swe.make.sdist import Package, package_of
from envs.swe.make.source import Change
from envs.swe.make.suite import Suite, steady
from envs.swe.make.trial import Dropped, Kept, Trial, in_order
from envs.swe.sandbox import Sandboxes
from envs.task import Limits, Reference, Task

TRIES = 12
"""Bugs tried for each task wanted."""

SLOWER = 10.0
SLACK_SECONDS = 20.0
"""Tests that a bug slows down so many times, and by so much more, are taken for endless: a loop that a bug made so
would hold a sandbox for all of the suite's time. What runs beside them slows healthy tests down far less."""

Proposal = Callable[[], Awaitable[Bug | Dropped]]


class BugSource(Protocol):
    """Who thinks of bugs."""

    def proposals(self, package: Package, seed: int, bugs: int, most: int) -> Sequence[Proposal]:
        """Up to `most` proposals of `bugs` bugs each, in the order to try them; the same for the same arguments."""
        ...


class IssueSource(Protocol):
    """Who words the issue."""

    async def issue(self, package: Package, kept: Kept) -> str | Dropped: ...


class Mutations:
    """Bugs by the operators of `mutate`."""

    def proposals(self, package: Package, seed: int, bugs: int, most: int) -> Sequence[Proposal]:
        return [partial(_ready, bug) for bug in plan(package, seed, bugs, most)]


class Observations:
    """Issues that say which checks fail and how."""

    async def issue(self, package: Package, kept: Kept) -> str | Dropped:
        return issue_text(package.name, kept.broken, kept.log, package.command)


@dataclass(frozen=True)
class Made:
    """Tasks with their references, and what became of every bug that was tried: tried = kept + dropped."""

    package: str
    version: str
    healthy_tests: int
    tasks: tuple[tuple[Task, Reference], ...]
    bugs: tuple[Bug, ...]
    """Of each task, in the order of `tasks`."""
    tried: int
    dropped: dict[str, int] = field(default_factory=dict)
    """By reason."""


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
    bug_source: BugSource | None = None,
    issue_source: IssueSource | None = None,
    service: str = "trajc",
    say: Callable[[str], None] = lambda _: None,
) -> Made:
    """`count` tasks (fewer where the package has no more bugs to give) of `bugs` planted bugs each, `parallel`
    sandboxes at once.

    The same archive, seed, arguments and sources give the same tasks, whatever `parallel` is. Raises `TaskError` where
    the package cannot be had or its tests do not run, `SandboxError` where the sandbox fails, and what the sources
    raise.
    """
    package = await package_of(archive_or_name)
    suite = Suite(command=package.command, service=service)
    say(f"{package.name} {package.version}: running {len(package.tests)} test modules twice")
    began = time.monotonic()
    good = await steady(sandboxes, suite, package.files, package.tests)
    healthy = (time.monotonic() - began) / 2
    suite = replace(suite, seconds=min(suite.seconds, SLOWER * healthy + SLACK_SECONDS))
    proposals = (bug_source or Mutations()).proposals(package, seed, bugs, count * TRIES)
    if not proposals:
        raise TaskError(f"{package.name} has no source in which a bug could be planted")
    say(f"{len(good)} tests pass; trying up to {len(proposals)} bugs")
    trial = Trial(package, sandboxes, suite, good)
    work = (partial(_attempt, trial, proposal, issue_source or Observations()) for proposal in proposals)
    kept: list[tuple[Kept, str]] = []
    dropped: Counter[str] = Counter()
    seen: set[frozenset[tuple[str, Change]]] = set()
    async with aclosing(in_order(work, parallel)) as outcomes:
        async for outcome in outcomes:
            if isinstance(outcome, Dropped):
                dropped[outcome.reason] += 1
                continue
            change = frozenset((mutant.path, mutant.change) for mutant in outcome[0].bug)
            if change in seen:
                dropped["the same bug again"] += 1
                continue
            seen.add(change)
            kept.append(outcome)
            say(f"{len(kept)} of {count}: {outcome[0].bug[0].operator}, {len(outcome[0].broken)} tests fail")
            if len(kept) == count:
                break
    return Made(
        package=package.name,
        version=package.version,
        healthy_tests=len(good),
        tasks=tuple(_task(trial, one, issue, blobs, limits) for one, issue in kept),
        bugs=tuple(one.bug for one, _ in kept),
        tried=len(kept) + dropped.total(),
        dropped=dict(sorted(dropped.items())),
    )


async def _ready(bug: Bug) -> Bug | Dropped:
    return bug


async def _attempt(trial: Trial, proposal: Proposal, issues: IssueSource) -> tuple[Kept, str] | Dropped:
    bug = await proposal()
    if isinstance(bug, Dropped):
        return bug
    kept = await trial.run(bug)
    if isinstance(kept, Dropped):
        return kept
    issue = await issues.issue(trial.package, kept)
    return issue if isinstance(issue, Dropped) else (kept, issue)


def _task(trial: Trial, kept: Kept, issue: str, blobs: BlobStore, limits: Limits | None) -> tuple[Task, Reference]:
    """Its id is made of what it is: the same bug and words have the same one, however they were come by."""
    package = trial.package
    digest = content_hash([*([m.path, *astuple(m.change)] for m in kept.bug), issue])
    return assemble(
        package.files,
        kept.files,
        blobs,
        id=f"swe-{package.name.lower()}-{package.version}-{digest[:10]}",
        issue=issue,
        fail_to_pass=kept.broken,
        pass_to_pass=[id for id in trial.good if id not in set(kept.broken)],
        repository=package.name,
        licence=package.licence,
        limits=limits,
        command=package.command,
        log=kept.log,
    )
