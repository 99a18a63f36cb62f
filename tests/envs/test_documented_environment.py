"""The environment of docs/environments.md works as it stands there."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from envs.blobs import MemoryBlobs
from envs.environment import Environment, Site
from envs.task import Reference, Task
from rollout.loop import run_agent
from rollout.record import Identity, Record
from rollout.scripted import ScriptedModel, call, say

PAGE = Path(__file__).parent.parent.parent / "docs" / "environments.md"
TASK = Task(
    id="t", environment="cabinet", question="Where is the key?", world={"notes": {"left": "It is in the attic."}}
)


@pytest.fixture
def code() -> str:
    found = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture
def cabinet(code: str, tmp_path: Path) -> Environment:
    names: dict[str, Any] = {}
    exec(compile(code, str(PAGE), "exec"), names)
    made: Environment = names["Cabinet"](Site(root=tmp_path, blobs=MemoryBlobs()))
    return made


def test_the_class_has_forty_lines_or_fewer(code: str) -> None:
    lines = code[code.index("class Cabinet") :].splitlines()
    assert sum(1 for line in lines if line.strip()) <= 40


@pytest.mark.parametrize(("answer", "verdict"), [("attic", "right"), ("cellar", "wrong")])
async def test_an_agent_looks_answers_and_is_scored(cabinet: Environment, answer: str, verdict: str) -> None:
    script = [call("look", {"drawer": "right"}), call("look", {"drawer": "left"}), say(answer)]
    record = Record(TASK, Identity(run="r", rollout="ro", attempt=1, trajectory="t"), "scripted")
    trajectory = await run_agent(record, cabinet, ScriptedModel(script), sampling={}, owner={})
    assert (trajectory.stop, [s.result.is_error for s in trajectory.steps]) == ("answered", [True, False])
    assert [(step.tool_call.name, piece.source) for step, piece in trajectory.evidence] == [("look", "left")]
    assert trajectory.submission is not None
    score = await cabinet.score(TASK, Reference(data={"answer": "attic"}), trajectory.submission)
    assert score.verdict == verdict


@pytest.fixture
def installed(code: str, tmp_path: Path) -> Path:
    """The page's class and entry point, as a package of its own that pip has installed."""
    declared = re.search(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert declared is not None
    groups = tomllib.loads(declared[1])["project"]["entry-points"]
    lines = [f"[{group}]\n{name} = {what}" for group, names in groups.items() for name, what in names.items()]
    wheel, info = tmp_path / "my_package-1.0-py3-none-any.whl", "my_package-1.0.dist-info"
    with ZipFile(wheel, "w") as archive:
        archive.writestr("my_package.py", code)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/entry_points.txt", "\n".join(lines) + "\n")
        archive.writestr(f"{info}/RECORD", "")
    target = tmp_path / "installed"
    quiet = ["--no-deps", "--no-index", "--disable-pip-version-check", "-q"]
    command = [sys.executable, "-m", "pip", "install", *quiet, "--target", str(target), str(wheel)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


def test_installed_beside_trajc_it_is_an_environment_like_any_other(installed: Path, tmp_path: Path) -> None:
    tasks = tmp_path / "tasks.jsonl"
    right = {"id": "a", "environment": "cabinet", "question": "Where?", "world": {"notes": {"left": "In the attic."}}}
    tasks.write_text(json.dumps({**right, "reference": {"answer": "attic"}}) + "\n")
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("TRAJC_", "OPENAI_"))}
    environ |= {"TRAJC_HOME": str(tmp_path / "home")}

    def validate(**more: str) -> tuple[int, str]:
        command = [str(Path(sys.executable).parent / "trajc"), "tasks", "validate", str(tasks)]
        done = subprocess.run(command, env=environ | more, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    assert validate(PYTHONPATH=str(installed)) == (0, "1 tasks are valid, 0 lines are not\n")
    code, words = validate()
    assert (code, "unknown environment 'cabinet'; known: search, sql, swe" in words) == (1, True)
