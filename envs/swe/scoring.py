"""Whether a patch is right: a fresh sandbox from the pristine tree, the patch, the hidden tests, every test by name."""

import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from envs.errors import SandboxError
from envs.score import Score
from envs.swe.patch import FilePatch, split, touched, without
from envs.swe.sandbox import Sandbox, Sandboxes, SandboxSpec
from envs.swe.testlog import parser_for
from envs.swe.world import SweReference

SCORER = "swe_tests"
VERSION = "1"
CONFIG_NAMES = frozenset(
    (
        *("conftest.py", "pytest.ini", ".pytest.ini", "pytest.toml", "tox.ini", "setup.cfg", "pyproject.toml"),
        *("sitecustomize.py", "usercustomize.py", ".coveragerc", "noxfile.py"),
    )
)
"""Files that change how tests are found, run or reported: an agent's changes to them are not applied."""
CONFIG_SUFFIXES = (".pth", ".egg-link")
RUNNERS = frozenset(("pytest", "_pytest", "pluggy", "iniconfig", "packaging", "exceptiongroup", "py", "coverage"))
APPLY = """
git apply --whitespace=nowarn "$0" 2>/tmp/apply.log || patch --batch --fuzz=3 -p1 -i "$0" >>/tmp/apply.log 2>&1 || {
  head -c 600 /tmp/apply.log; exit 3; }
"""
LISTED = 20
"""Test ids named in a score's words."""


@dataclass(frozen=True)
class Checked:
    """What one run of the tests gave: outcome by test id, and the run's own words."""

    outcomes: Mapping[str, str]
    log: str
    code: int | None
    timed_out: bool


def is_test_config(path: str, tree: Mapping[str, object]) -> bool:
    """Whether a change of this path could make tests pass that would not: configuration of test runners, start-up
    hooks, entry points, and new top-level modules that would hide a test runner or the standard library."""
    pure = PurePosixPath(path)
    if pure.name in CONFIG_NAMES or pure.suffix in CONFIG_SUFFIXES:
        return True
    if any(part.endswith((".egg-info", ".dist-info")) for part in pure.parts):
        return True
    top = pure.parts[0].removesuffix(".py")
    hides = top in RUNNERS or top in sys.stdlib_module_names
    return hides and not any(p == path or p.startswith(pure.parts[0] + "/") for p in tree)


def kept_part(patch: str, reference: SweReference, tree: Mapping[str, object]) -> tuple[str, list[str]]:
    """The patch without what tests must not see changed, and the paths taken out. What the gold patch itself
    changes may be changed."""
    allowed = set(touched(reference.gold_patch))

    def drop(part: FilePatch) -> bool:
        return any(
            path in reference.hidden_tests or (path not in allowed and is_test_config(path, tree))
            for path in part.paths
        )

    return without(patch, drop)


async def judge(
    sandboxes: Sandboxes,
    spec: SandboxSpec,
    reference: SweReference,
    tree: Mapping[str, object],
    patch: str,
) -> Score:
    """`spec.seed` holds the tree with the hidden tests in place. Raises `SandboxError`."""
    if not patch.strip():
        return _score(0.0, "no_answer", "the patch is empty")
    if not split(patch):
        return _score(0.0, "wrong", "the answer is no unified diff")
    kept, dropped = kept_part(patch, reference, tree)
    aside = f"; not applied: changes to {', '.join(dropped)}" if dropped else ""
    if not kept.strip():
        return _score(0.0, "wrong", f"the patch changes only test files or their configuration{aside}")
    sandbox = await sandboxes.start(replace(spec, seconds=reference.test_seconds + 300))
    try:
        refusal = await apply_patch(sandbox, spec.workdir, kept)
        if refusal:
            return _score(0.0, "wrong", f"the patch does not apply: {refusal}{aside}")
        asked = (*reference.fail_to_pass, *reference.pass_to_pass)
        checked = await run_tests(sandbox, spec.workdir, reference, asked)
    finally:
        await sandbox.close()
    return verdict(checked, reference, aside)


async def apply_patch(sandbox: Sandbox, workdir: str, patch: str) -> str:
    """Apply a patch to the tree in a sandbox; returns "" or why it does not apply."""
    text = patch if patch.endswith("\n") else patch + "\n"
    reason = await sandbox.write("/tmp/submission.patch", text.encode("utf-8", "surrogateescape"))
    if reason:
        raise SandboxError(f"the patch could not be written into the sandbox: {reason}")
    output = await sandbox.execute(["/bin/bash", "-c", APPLY, "/tmp/submission.patch"], 60, workdir=workdir)
    return "" if output.ok else output.data.decode("utf-8", "replace").strip() or f"git apply: {output.ended}"


async def run_tests(sandbox: Sandbox, workdir: str, reference: SweReference, asked: tuple[str, ...]) -> Checked:
    """Run the test command over the files that the ids name, or over the hidden test modules."""
    files = {id.partition("::")[0] for id in asked if "::" in id}
    files = files or {path for path in reference.hidden_tests if PurePosixPath(path).name.startswith("test")}
    command = " ".join([reference.test_command, *map(shlex.quote, reference.test_targets or sorted(files))])
    output = await sandbox.run(f"cd {shlex.quote(workdir)} && {command}", reference.test_seconds)
    log = output.data.decode("utf-8", "replace")
    outcomes = parser_for(reference.test_command)(log, output.code, asked)
    return Checked(outcomes, log, output.code, output.ended == "timeout")


def verdict(checked: Checked, reference: SweReference, aside: str = "") -> Score:
    """Right iff every test that must pass is named as passed."""
    asked = (*reference.fail_to_pass, *reference.pass_to_pass)
    bad = [id for id in asked if checked.outcomes.get(id) != "passed"]
    if not bad:
        return _score(1.0, "right", f"all {len(asked)} tests passed{aside}")
    if checked.timed_out:
        return _score(0.0, "wrong", f"the tests did not end within {reference.test_seconds:.0f} s{aside}")
    if not checked.outcomes:
        last = checked.log.strip()[-400:]
        return _score(0.0, "wrong", f"no test ran (exit code {checked.code}): {last}{aside}")
    fixed = len(reference.fail_to_pass) - sum(1 for id in reference.fail_to_pass if id in bad)
    named = ", ".join(f"{id} ({checked.outcomes.get(id, 'did not run')})" for id in bad[:LISTED])
    more = f" and {len(bad) - LISTED} more" if len(bad) > LISTED else ""
    words = f"{fixed} of {len(reference.fail_to_pass)} failing tests fixed; not passed: {named}{more}{aside}"
    return _score(0.0, "wrong", words)


def _score(value: float, verdict: str, words: str) -> Score:
    return Score(scorer=SCORER, version=VERSION, value=value, verdict=verdict, words=words)  # type: ignore[arg-type]
