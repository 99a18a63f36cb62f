"""ATIF, the Agent Trajectory Interchange Format, version 1.8.

An agent step is one model call with the observations that answered it. ATIF wants arguments as an object: where
the model's own text is not exactly that object's JSON, the text stands in the call's `extra.arguments`.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from typing import Any

import orjson

from rollout.trajectory import Message, ToolCall, ToolStep, Trajectory

VERSION = "ATIF-v1.8"


def to_atif(trajectory: Trajectory) -> dict[str, Any]:
    """One ATIF document, without null fields."""
    steps = list(_steps(trajectory))
    usage = trajectory.usage
    if steps and trajectory.started:
        steps[0]["timestamp"] = datetime.fromtimestamp(trajectory.started, UTC).isoformat()
    agent = {"name": "trajc", "version": _version(), "model_name": trajectory.model}
    return {
        "schema_version": VERSION,
        "session_id": trajectory.rollout,
        "trajectory_id": trajectory.id,
        "agent": {**agent, "tool_definitions": list(trajectory.tools)},
        "steps": [{"step_id": i, **step} for i, step in enumerate(steps, 1)],
        "final_metrics": {
            "total_prompt_tokens": usage.prompt_tokens,
            "total_completion_tokens": usage.completion_tokens,
            "total_cached_tokens": usage.cached_tokens,
            "total_steps": len(steps),
        },
        "extra": _present(
            run=trajectory.run,
            attempt=trajectory.attempt,
            sample=trajectory.sample,
            group=trajectory.group,
            parent=trajectory.parent,
            parent_call=trajectory.parent_call,
            task=trajectory.task.model_dump(mode="json"),
            stop=trajectory.stop,
            failure=trajectory.failure,
            error=trajectory.error or None,
            submission=trajectory.submission and trajectory.submission.model_dump(mode="json"),
            marks=[m.model_dump(mode="json") for m in trajectory.marks] or None,
            gaps=list(trajectory.gaps) or None,
            source=trajectory.source.model_dump(mode="json", exclude_none=True),
        ),
    }


def from_atif(data: Mapping[str, Any]) -> tuple[tuple[Message, ...], tuple[dict[str, Any], ...]]:
    """Messages and tools. An agent's empty message beside tool calls comes back as no content."""
    messages = tuple(m for step in data["steps"] for m in _messages(step))
    return messages, tuple(data["agent"].get("tool_definitions") or ())


def _steps(trajectory: Trajectory) -> Iterator[dict[str, Any]]:
    made = {call.output: i for i, call in enumerate(trajectory.calls)}
    answers = {step.message: step for step in trajectory.steps}
    agent: dict[str, Any] | None = None
    for i, message in enumerate(trajectory.messages):
        if message.role == "tool":
            if agent is not None:
                agent.setdefault("observation", {"results": []})["results"].append(_result(message, answers.get(i)))
            continue
        if agent is not None:
            yield agent
            agent = None
        if message.role == "assistant":
            agent = _agent_step(message, trajectory, made.get(i))
        else:
            yield {"source": message.role, "message": message.content or ""}
    if agent is not None:
        yield agent


def _agent_step(message: Message, trajectory: Trajectory, call: int | None) -> dict[str, Any]:
    return _present(
        source="agent",
        message=message.content or "",
        reasoning_content=message.reasoning,
        tool_calls=[_call(c) for c in message.tool_calls] or None,
        metrics=None if call is None else _metrics(trajectory, call),
        llm_call_count=None if call is None else 1,
        is_copied_context=True if call is None else None,
    )


def _metrics(trajectory: Trajectory, index: int) -> dict[str, Any]:
    call = trajectory.calls[index]
    return _present(
        prompt_tokens=call.usage.prompt_tokens,
        completion_tokens=call.usage.completion_tokens,
        cached_tokens=call.usage.cached_tokens,
        prompt_token_ids=trajectory.prompt_tokens(index),
        completion_token_ids=call.output_token_ids,
        logprobs=call.logprobs,
        extra=_present(
            finish_reason=call.finish_reason,
            seconds=call.seconds,
            sampling=call.sampling,
            revision=call.revision,
            recovered=call.recovered or None,
        ),
    )


def _call(call: ToolCall) -> dict[str, Any]:
    try:
        arguments = orjson.loads(call.arguments)
    except orjson.JSONDecodeError:
        arguments = None
    if not isinstance(arguments, dict):
        arguments = {}
    out = {"tool_call_id": call.id, "function_name": call.name, "arguments": arguments}
    if orjson.dumps(arguments).decode() != call.arguments:
        out["extra"] = {"arguments": call.arguments}
    return out


def _result(message: Message, step: ToolStep | None) -> dict[str, Any]:
    extra = None
    if step is not None:
        result = step.result
        extra = _present(
            is_error=result.is_error or None,
            malformed=step.malformed or None,
            hidden_bytes=result.hidden_bytes or None,
            seconds=result.seconds,
        )
    return _present(source_call_id=message.tool_call_id, content=message.content or "", extra=extra)


def _messages(step: Mapping[str, Any]) -> Iterator[Message]:
    text = step["message"]
    if not isinstance(text, str):
        text = "".join(part.get("text") or "" for part in text)
    if step["source"] != "agent":
        yield Message(role=step["source"], content=text)
        return
    calls = tuple(_read_call(c) for c in step.get("tool_calls") or ())
    content = text or (None if calls else "")
    yield Message(role="assistant", content=content, reasoning=step.get("reasoning_content"), tool_calls=calls)
    for result in (step.get("observation") or {}).get("results", ()):
        yield Message(role="tool", content=result.get("content"), tool_call_id=result.get("source_call_id"))


def _read_call(call: Mapping[str, Any]) -> ToolCall:
    written = (call.get("extra") or {}).get("arguments")
    arguments = orjson.dumps(call["arguments"]).decode() if written is None else written
    return ToolCall(id=call["tool_call_id"], name=call["function_name"], arguments=arguments)


def _present(**fields: Any) -> dict[str, Any]:
    """Without the null ones, and with lists where JSON has no tuples."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in fields.items() if v is not None}


@cache
def _version() -> str:
    return version("trajc")
