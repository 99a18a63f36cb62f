"""Whether a bug is a task: its tests run in fresh sandboxes, twice, several bugs at once and never more than asked."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from envs.swe.gitdir import File
from envs.swe.make.plan import Bug, planted
from envs.swe.make.sdist import Package
from envs.swe.make.suite import Suite, passed
from envs.swe.sandbox import Sandboxes

MOST_BROKEN = 0.5
"""A bug that breaks a larger share of the tests is too plain to be a task."""

AHEAD = 2

T = TypeVar("T")


@dataclass(frozen=True)
class Kept:
    """A bug that showed itself twice in the same way."""

    bug: Bug
    files: dict[str, File]
    broken: tuple[str, ...]
    """Ids of the tests that fail because of it."""
    log: str


@dataclass(frozen=True)
class Dropped:
    """No task, and why: reasons are few and the same for many, as they are counted."""

    reason: str


@dataclass(frozen=True)
class Trial:
    """What every bug of a package is held against: the healthy repository's tests that pass twice."""

    package: Package
    sandboxes: Sandboxes
    suite: Suite
    good: tuple[str, ...]

    async def run(self, bug: Bug) -> Kept | Dropped:
        """The bug, or why it is no task. Raises `SandboxError`."""
        tests = sorted({id.partition("::")[0] for id in self.good})
        files = planted(self.package.files, bug)
        first = await self.suite.run(self.sandboxes, files, tests, self.good)
        if first.timed_out:
            return Dropped("the tests do not end")
        kept = set(passed(first))
        broken = tuple(id for id in self.good if id not in kept)
        if not broken:
            return Dropped("no test fails")
        if len(broken) > MOST_BROKEN * len(self.good):
            return Dropped("most tests fail")
        if any(first.outcomes.get(id) != "failed" for id in broken):
            return Dropped("tests do not run")
        second = await self.suite.run(self.sandboxes, files, tests, self.good)
        if tuple(id for id in self.good if second.outcomes.get(id) != "passed") != broken:
            return Dropped("flaky")
        if len(bug) > 1 and not await self._all_show(bug, tests):
            return Dropped("no test fails for one of several bugs")
        return Kept(bug, files, broken, first.log)

    async def _all_show(self, bug: Bug, tests: Sequence[str]) -> bool:
        """Whether each bug breaks a test by itself: one that no test notices need not be mended."""
        for one in bug:
            alone = await self.suite.run(self.sandboxes, planted(self.package.files, (one,)), tests, self.good)
            if set(passed(alone)).issuperset(self.good):
                return False
        return True


async def in_order(work: Iterable[Callable[[], Awaitable[T]]], parallel: int) -> AsyncGenerator[T, None]:
    """Results in the order of `work`, of which `parallel` pieces run at once; while an early one is slow, later ones
    go on until `AHEAD` times as many wait for it. What still runs when nobody asks for more is cancelled. Use with
    `aclosing`."""
    begun: list[asyncio.Future[T]] = []
    left = iter(work)
    try:
        while True:
            running = [one for one in begun if not one.done()]
            while len(running) < parallel and len(begun) < AHEAD * parallel and (piece := next(left, None)) is not None:
                running.append(asyncio.ensure_future(piece()))
                begun.append(running[-1])
            if not begun:
                return
            if begun[0].done():
                yield begun.pop(0).result()
            else:
                await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in begun:
            one.cancel()
        await asyncio.gather(*begun, return_exceptions=True)
