"""Whether a patch is right: a fresh sandbox from the pristine tree, the patch, the hidden tests, every test by name."""

import posixpath
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from envs.errors import SandboxError
from envs.score import Score
from envs.swe.disk import refuse_full_disk, speaks_of_full_disk
from envs.swe.patch import split, touched
from envs.swe.report import Reporter
from envs.swe.sandbox import Sandbox, Sandboxes, SandboxSpec
from envs.swe.scope import brought_hooks, kept_part
from envs.swe.testlog import cut_ids, is_pytest, parser_for
from envs.swe.world import SweReference

SCORER = "swe_tests"
VERSION = "2"
APPLY = """
git apply -p1 --whitespace=nowarn "$0" 2>/tmp/apply.log || patch --batch --fuzz=3 -p1 -i "$0" >>/tmp/apply.log 2>&1 || {
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
    replaced: tuple[str, ...] = ()
    """Parts of the test runner that the patch replaced while it ran."""


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
    score, log = await _tested(sandboxes, spec, reference, kept, aside)
    if not score.right and speaks_of_full_disk(log.encode("utf-8", "replace")):
        # It was full a moment ago, or the code under test says so, and will again.
        score, _ = await _tested(sandboxes, spec, reference, kept, aside)
    return score


async def _tested(
    sandboxes: Sandboxes, spec: SandboxSpec, reference: SweReference, patch: str, aside: str
) -> tuple[Score, str]:
    """The score of one run in a fresh sandbox, and what was written there."""
    sandbox = await sandboxes.start(replace(spec, seconds=reference.test_seconds + 300))
    try:
        refusal = log = await apply_patch(sandbox, spec.workdir, patch)
        if refusal:
            score = _score(0.0, "wrong", f"the patch does not apply: {refusal}{aside}")
        else:
            asked = (*reference.fail_to_pass, *reference.pass_to_pass)
            checked = await run_tests(sandbox, spec.workdir, reference, asked, patch)
            score, log = verdict(checked, reference, aside), checked.log
        if not score.right:
            await refuse_full_disk(sandbox, spec.workdir)
        return score, log
    finally:
        await sandbox.close()


async def apply_patch(sandbox: Sandbox, workdir: str, patch: str) -> str:
    """Apply a patch to the tree in a sandbox; returns "" or why it does not apply."""
    text = patch if patch.endswith("\n") else patch + "\n"
    reason = await sandbox.write("/tmp/submission.patch", text.encode("utf-8", "surrogateescape"))
    if reason:
        raise SandboxError(f"the patch could not be written into the sandbox: {reason}")
    output = await sandbox.execute(["/bin/bash", "-c", APPLY, "/tmp/submission.patch"], 60, workdir=workdir)
    return "" if output.ok else output.data.decode("utf-8", "replace").strip() or f"git apply: {output.ended}"


async def run_tests(
    sandbox: Sandbox, workdir: str, reference: SweReference, asked: tuple[str, ...], patch: str = ""
) -> Checked:
    """Run the test command over the files that the ids name, or over the hidden test modules. `patch` is what was
    applied to the tree. Raises `SandboxError`."""
    files = {id.partition("::")[0] for id in asked if "::" in id}
    files = files or {path for path in reference.hidden_tests if PurePosixPath(path).name.startswith("test")}
    command = " ".join([reference.test_command, *map(shlex.quote, reference.test_targets or sorted(files))])
    reporter = Reporter() if is_pytest(reference.test_command) else None
    if reporter is not None:
        await reporter.place(sandbox, _told(patch, workdir, reference))
        command = reporter.around(command)
    output = await sandbox.run(f"cd {shlex.quote(workdir)} && {command}", reference.test_seconds)
    if output.code is None and output.ended == "exited":
        raise SandboxError("the shell that ran the tests was lost")
    log, timed_out = output.data.decode("utf-8", "replace"), output.ended == "timeout"
    if reporter is None:
        return Checked(parser_for(reference.test_command)(log, output.code, asked), log, output.code, timed_out)
    report = await reporter.read(sandbox)
    outcomes = {**report.outcomes, **cut_ids(report.outcomes, asked)}
    return Checked(outcomes, log, output.code, timed_out, report.replaced)


def _told(patch: str, workdir: str, reference: SweReference) -> dict[str, object]:
    """A patch as `Reporter.place` takes it."""

    def at(path: str) -> str:
        return posixpath.join(workdir, path)

    return {
        "root": workdir,
        "changed": [at(path) for path in touched(patch)],
        "created": [at(part.path) for part in split(patch) if part.creates],
        "brought": [(at(path), hook) for path, hook in brought_hooks(patch, reference)],
    }


def verdict(checked: Checked, reference: SweReference, aside: str = "") -> Score:
    """Right iff every test that must pass is named as passed."""
    asked = (*reference.fail_to_pass, *reference.pass_to_pass)
    bad = [id for id in asked if checked.outcomes.get(id) != "passed"]
    if checked.replaced:
        what = ", ".join(checked.replaced)
        return _score(0.0, "wrong", f"the patch replaces parts of the test runner while it runs: {what}{aside}")
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
