"""The environment of docs/environments.md works as it stands there."""

import re
from pathlib import Path
from typing import Any

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
