"""Rows of SWE-bench's shape from a repository's own history: commits that mend something and bring the test for it.

A row's base is the commit before; its patch is what the commit changes outside of the tests, its test patch what it
changes in them. Which tests tell the difference is measured, twice, in sandboxes.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from envs.errors import TaskError
from envs.swe.git import git, git_words
from envs.swe.make.suite import Suite, belongs_to_tests, is_test_file
from envs.swe.make.trial import Dropped, in_order
from envs.swe.patch import FilePatch, touched, without
from envs.swe.rows import files_of_commit
from envs.swe.sandbox import Sandboxes
from envs.swe.verify import measure


@dataclass(frozen=True)
class History:
    """A local clone, and how the tests of its commits are run."""

    clone: Path
    repository: str
    """OWNER/NAME, as the rows carry it."""
    suite: Suite
    image: str | None = None


def commits(clone: Path, revision: str = "HEAD") -> list[str]:
    """Of the first-parent line, newest first, merges left out. Raises `TaskError` with git's words."""
    words = ("rev-list", "--first-parent", "--no-merges", "--min-parents=1", "--end-of-options", revision)
    return _git(clone, *words).decode().split()


async def rows_of_history(
    history: History, wanted: Sequence[str], sandboxes: Sandboxes, parallel: int = 2
) -> AsyncGenerator[tuple[str, dict[str, Any] | Dropped], None]:
    """(commit, its row or why it is none), in the order of `wanted`. Raises `TaskError`, `SandboxError`."""
    work = (partial(_row, history, commit, sandboxes) for commit in wanted)
    async with aclosing(in_order(work, parallel)) as found:
        async for one in found:
            yield one


async def _row(history: History, commit: str, sandboxes: Sandboxes) -> tuple[str, dict[str, Any] | Dropped]:
    return commit, await row_of_commit(history, commit, sandboxes)


async def row_of_commit(history: History, commit: str, sandboxes: Sandboxes) -> dict[str, Any] | Dropped:
    clone = history.clone
    diff = (await asyncio.to_thread(_git, clone, "diff", "--binary", "--no-renames", f"{commit}^", commit)).decode(
        "utf-8", "surrogateescape"
    )
    patch, _ = without(diff, lambda part: _is_tests(part))
    test_patch, _ = without(diff, lambda part: not _is_tests(part))
    if not any(path.endswith(".py") for path in touched(patch)):
        return Dropped("it changes no source")
    tests = [path for path in touched(test_patch) if is_test_file(path)]
    if not tests:
        return Dropped("it brings no test")
    old = await asyncio.to_thread(files_of_commit, clone, f"{commit}^")
    new = await asyncio.to_thread(files_of_commit, clone, commit)
    tests = [path for path in tests if path in new]
    aside = set(touched(test_patch))
    before = {path: file for path, file in old.items() if path not in aside}
    before |= {path: file for path, file in new.items() if path in aside}
    found = await measure(sandboxes, history.suite, before, new, tests)
    if not found.fail_to_pass:
        return Dropped("only flaky tests tell the difference" if found.flaky else "no test tells the difference")
    base, message, date = (
        (await asyncio.to_thread(_git, clone, "show", "-s", "--format=%P%x00%B%x00%cI", commit))
        .decode("utf-8", "replace")
        .split("\0")
    )
    row: dict[str, Any] = {
        "repo": history.repository,
        "instance_id": f"{history.repository.replace('/', '__')}-{commit[:10]}",
        "base_commit": base.split()[0],
        "patch": patch,
        "test_patch": test_patch,
        "problem_statement": message.strip(),
        "hints_text": "",
        "created_at": date.strip(),
        "FAIL_TO_PASS": orjson.dumps(found.fail_to_pass).decode(),
        "PASS_TO_PASS": orjson.dumps(found.pass_to_pass).decode(),
        "test_command": history.suite.command,
    }
    return row | ({"image_name": history.image} if history.image else {})


def _is_tests(part: FilePatch) -> bool:
    return all(belongs_to_tests(path) for path in part.paths)


def _git(clone: Path, *words: str) -> bytes:
    done = git(clone, *words)
    if done.returncode:
        raise TaskError(f"{clone}: git {words[0]}: {git_words(done)}")
    return done.stdout
