"""The software-engineering policy: look around, read the files, edit them hunk by hunk, run something, submit.

The edits are the gold patch's, made by the tools that an agent has. A wrong sample submits without an edit, or
makes the right edit in a copy that nothing uses.
"""

import re
import shlex
from collections.abc import Iterable
from pathlib import PurePosixPath

from api.oracle.moves import Call, Moment, Move, Step, call, say
from api.oracle.swe_edits import Edit, edits_of, in_copies
from envs.swe.world import SweReference, SweWorld

LOOK = "ls && find . -name '*.py' -not -path './.*' | sort | head -200"
MOST_TESTS = 3
MOST_SUBMITS = 2
LAST_DETOUR = 12
_MADE = ("was changed; it now reads", " was created.", " was written over.", "edit done")
_IDENTIFIER = re.compile(r"`([\w.]+)`|\b(\w+_\w+|[a-z]+[A-Z]\w+)\b|\b(\w+)\(")


def swe_policy(moment: Moment) -> Move:
    world = SweWorld.model_validate(moment.task.world)
    patch = SweReference.model_validate(moment.reference.data).gold_patch
    edits = edits_of(patch, world.workdir)
    commands = {str(step.arguments.get("command")): step for step in moment.of("bash")}
    if LOOK not in commands:
        return call("bash", "First a look at the repository.", command=LOOK)
    if (search := _search(moment.task.question)) and search not in commands:
        return call("bash", "Where is what the issue speaks of?", command=search)
    if unread := [path for path in dict.fromkeys(e.path for e in edits if e.exists) if not _read(moment, path)]:
        return call("str_replace_editor", "This file seems to matter.", command="view", path=unread[0])
    files = _files(commands[LOOK])
    if detour := _detour(moment, files, world.workdir):
        return detour
    if moment.wrong:
        edits = in_copies(edits) if moment.chance.happens(0.5, "misplaced") else ()
    for edit in edits:
        if (wanted := _next(edit, moment.steps)) is not None:
            return Move(calls=(wanted,), thought=f"I change {edit.path}.")
    if edits and (check := _check(edits, files)) not in commands:
        return call("bash", "Does it still run?", command=check)
    if len(moment.of("submit")) < MOST_SUBMITS:
        return call("submit", "The change is made.")
    return say("I cannot hand in what I have.")


def _next(edit: Edit, steps: Iterable[Step]) -> Call | None:
    """The first of the edit's ways that was not tried; None when one worked or all were tried."""
    for way in edit.ways:
        tried = [s for s in steps if (s.name, dict(s.arguments)) == (way.name, way.arguments)]
        if not tried:
            return way
        if made(tried[-1].text):
            return None
    return None


def made(text: str) -> bool:
    """Whether a tool's answer says that an edit was made."""
    return text.startswith("[no output]") or any(words in text for words in _MADE)


def _search(question: str) -> str | None:
    """A grep for what looks most like a name in code."""
    found = [next(filter(None, groups)).rstrip(".") for groups in _IDENTIFIER.findall(question)]
    if not found:
        return None
    word = max(dict.fromkeys(found), key=lambda w: ("_" in w, len(w)))
    return f"grep -rnF --include='*.py' -- {shlex.quote(word.split('.')[-1] or word)} . | head -40"


def _read(moment: Moment, path: str) -> bool:
    return any(s.arguments.get("command") == "view" and s.arguments.get("path") == path for s in moment.steps)


def _files(look: Step) -> list[str]:
    return [line[2:] for line in look.text.splitlines() if line.startswith("./") and line.endswith(".py")]


def _detour(moment: Moment, files: list[str], workdir: str) -> Move | None:
    """A look into a file that has nothing to do with it."""
    others = [path for name in files if not _read(moment, path := f"{workdir}/{name}")]
    if not others or moment.turn >= LAST_DETOUR or not moment.detour("file"):
        return None
    path = moment.chance.pick(others, "file", moment.turn)
    return call("str_replace_editor", "Perhaps this file too.", command="view", path=path)


def _check(edits: Iterable[Edit], files: list[str]) -> str:
    """Compile what was changed, and run the tests whose names are like the changed modules'."""
    changed = list(dict.fromkeys(e.path for e in edits if e.remains and e.path.endswith(".py")))
    stems = {PurePosixPath(path).stem.strip("_") for path in changed}
    tests = [
        f
        for f in files
        if re.match(r"test_|.*_test\.py$", name := PurePosixPath(f).name) and any(s in name for s in stems)
    ]
    compile_them = f"python3 -m py_compile {shlex.join(changed)}" if changed else "git status --short"
    if not tests:
        return compile_them
    return f"{compile_them} && timeout 60 python3 -m pytest -q -x {shlex.join(tests[:MOST_TESTS])} 2>&1 | tail -15"
