"""Trajectories leave in forms that others read, with nothing of the conversation lost."""

from dataclasses import replace
from typing import Any

import atif
import orjson
import pytest
from openai.types.chat import ChatCompletionMessageParam
from pydantic import TypeAdapter, ValidationError

from envs.task import Limits, Task
from rollout.formats import FORMATS
from rollout.formats.atif import from_atif, to_atif
from rollout.formats.openai import from_openai, to_openai
from rollout.loop import run_agent
from rollout.record import Identity, Record
from rollout.scripted import ScriptedModel, call, calls, say
from rollout.trajectory import Message, ToolCall, Trajectory, Usage

IDENTITY = Identity(run="run", rollout="roll", attempt=2, trajectory="traj", sample=3)


@pytest.fixture
async def trajectory(echo: Any) -> Trajectory:
    """Reasoning, two calls at once, broken arguments, a nudge, token ids, an answer."""
    first = replace(
        calls(("echo", {"text": "é"}), ("echo", '{"text": '), reasoning="think"),
        prompt_token_ids=(1, 2),
        output_token_ids=(3, 4),
        logprobs=(-0.5, -0.25),
    )
    usage = Usage(prompt_tokens=7, completion_tokens=5, cached_tokens=3)
    second = replace(call("echo", '{ "text":"b" }', content="Now b."), usage=usage)
    script = [first, second, say("Hm."), call("submit", "")]
    task = Task(id="t1", environment="echo", question="q", limits=Limits(max_turns=9))
    record = Record(task, IDENTITY, "m", now=lambda: 1_700_000_000.0)
    return await run_agent(record, echo, ScriptedModel(script), sampling={"temperature": 0}, owner={})


def test_the_openai_form_is_what_their_package_takes(trajectory: Trajectory) -> None:
    exported = to_openai(trajectory)
    for message in exported["messages"]:
        TypeAdapter(ChatCompletionMessageParam).validate_python(message)
    assert exported["messages"][0] == {"role": "system", "content": "You are a parrot."}
    assert exported["tools"] == [*trajectory.tools]
    assert [m["weight"] for m in exported["messages"] if m["role"] == "assistant"] == [1, 1, 1, 1]
    assert exported["messages"][2]["reasoning_content"] == "think"
    assert exported["parallel_tool_calls"] is True
    assert exported["metadata"]["stop"] == "answered"


def test_what_the_model_was_only_shown_has_no_weight(trajectory: Trajectory) -> None:
    shown = trajectory.model_copy(update={"calls": trajectory.calls[1:]})
    assert [m["weight"] for m in to_openai(shown)["messages"] if m["role"] == "assistant"] == [0, 1, 1, 1]
    copied = [s.get("is_copied_context") for s in to_atif(shown)["steps"] if s["source"] == "agent"]
    assert copied == [True, None, None, None]


def test_the_openai_form_gives_messages_and_tools_back(trajectory: Trajectory) -> None:
    assert from_openai(orjson.loads(orjson.dumps(to_openai(trajectory)))) == (trajectory.messages, trajectory.tools)


def test_messages_of_other_tools_are_read() -> None:
    messages = [
        {"role": "developer", "content": [{"type": "text", "text": "a"}, {"type": "image_url"}, {"text": "b"}]},
        {"role": "assistant", "reasoning": "r", "tool_calls": [{"function": {"name": "f", "arguments": {"x": 1}}}]},
    ]
    assert from_openai({"messages": messages}) == (
        (
            Message(role="system", content="ab"),
            Message(role="assistant", reasoning="r", tool_calls=(ToolCall(id="", name="f", arguments='{"x":1}'),)),
        ),
        (),
    )


@pytest.mark.parametrize("bad", [{"content": "x"}, {"role": "wizard"}, "text", {"role": "user", "content": 3}])
def test_a_message_that_is_none_is_named(bad: Any) -> None:
    with pytest.raises(ValueError, match=r"messages\[1\] is no chat message"):
        from_openai({"messages": [{"role": "user", "content": "x"}, bad]})


def test_the_atif_form_is_valid_and_whole(trajectory: Trajectory) -> None:
    exported = to_atif(trajectory)
    document = atif.Trajectory.model_validate(exported)
    assert document.to_json_dict() == exported
    assert [s.source for s in document.steps] == ["system", "user", "agent", "agent", "agent", "user", "agent"]
    first = document.steps[2]
    assert [c.arguments for c in first.tool_calls or []] == [{"text": "é"}, {}]
    assert [r.extra for r in first.observation.results] == [  # type: ignore[union-attr]
        {"seconds": 1.0},
        {"is_error": True, "malformed": True, "seconds": 0.0},
    ]
    metrics = first.metrics
    assert metrics is not None
    assert (metrics.prompt_token_ids, metrics.completion_token_ids, metrics.logprobs) == ([1, 2], [3, 4], [-0.5, -0.25])
    assert document.agent.tool_definitions == [*trajectory.tools]
    assert document.steps[0].timestamp == "2023-11-14T22:13:20+00:00"
    assert document.extra is not None
    assert document.extra["task"]["id"] == "t1"


def test_the_atif_check_refuses_a_near_miss(trajectory: Trajectory) -> None:
    exported = to_atif(trajectory)
    exported["steps"][2]["observation"]["results"][0]["source_call_id"] = "another"
    with pytest.raises(ValidationError, match="does not match any tool_call"):
        atif.Trajectory.model_validate(exported)


def test_the_atif_form_gives_messages_and_tools_back(trajectory: Trajectory) -> None:
    assert from_atif(orjson.loads(orjson.dumps(to_atif(trajectory)))) == (trajectory.messages, trajectory.tools)


def test_a_partial_trajectory_is_exported_with_its_failure(trajectory: Trajectory) -> None:
    partial = trajectory.model_copy(
        update={"messages": trajectory.messages[:3], "stop": None, "failure": "model_error", "error": "gone"}
    )
    exported = to_atif(partial)
    assert atif.Trajectory.model_validate(exported).extra is not None
    assert (exported["extra"]["failure"], exported["extra"]["error"]) == ("model_error", "gone")


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_every_form_is_json(trajectory: Trajectory, name: str) -> None:
    exported = FORMATS[name](trajectory)
    assert orjson.loads(orjson.dumps(exported)) == exported
