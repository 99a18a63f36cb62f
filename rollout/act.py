"""What one assistant message leads to: tools run and answered, an answer taken, or words about what was wrong.

Everything that the model did wrong goes back to it in words that say the way out.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import orjson

from envs.environment import Environment, Session
from envs.errors import EnvironmentFailure, boundary
from envs.score import Submission
from envs.tool import MalformedCall, ToolResult, ToolSpec
from rollout.record import Record
from rollout.trajectory import StopReason, ToolCall

GRACE = 5.0
"""Seconds over `Limits.tool_seconds` before the loop ends a tool call: the environment's own deadline, which
keeps the output so far, comes first. Never more than the deadline itself."""


async def act(record: Record, environment: Environment, session: Session) -> StopReason | None:
    """Act on the last assistant message. Returns a stop reason where it ended the rollout."""
    said = record.said
    if not said.tool_calls:
        return plain(record, environment)
    for call in said.tool_calls:
        if record.submission is not None:
            record.answered(call, error("Not run: an earlier call of this message ended the task."))
            continue
        try:
            spec, arguments = parse(call, environment.tools)
        except MalformedCall as e:
            record.answered(call, error(str(e)), malformed=True)
        else:
            record.answered(call, await run(record, session, spec, call, arguments))
    return "answered" if record.submission is not None else None


def plain(record: Record, environment: Environment) -> StopReason | None:
    """A message without a tool call: the answer, the second silence in a row, or a reason for a nudge."""
    said, call = record.said, record.call
    text, cut = (said.content or "").strip(), call.finish_reason == "length"
    if environment.takes_text and text and not cut:
        record.submission = Submission(kind="text", text=text)
        return "answered"
    if (limit := record.limit()) is not None:
        return limit
    if not environment.takes_text and record.was_nudged:
        return "no_tool_call"
    fault = (
        "Your message was cut off at the token limit before it held a tool call"
        if cut
        else "Your message called no tool"
        if text
        else "Your message was empty"
    )
    names = ", ".join(spec.name for spec in environment.tools)
    answer = ", or answer in a plain message" if environment.takes_text else ""
    record.nudged(f"{fault}. Go on by calling one of these tools: {names}{answer}.")
    return None


def parse(call: ToolCall, tools: Sequence[ToolSpec]) -> tuple[ToolSpec, Any]:
    """The tool and its arguments. Raises `MalformedCall`. No arguments at all mean an empty object."""
    spec = next((t for t in tools if t.name == call.name), None)
    if spec is None:
        what = f"There is no tool {call.name!r}" if call.name else "The call names no tool"
        raise MalformedCall(f"{what}; the tools are: {', '.join(t.name for t in tools)}.")
    try:
        arguments = orjson.loads(call.arguments) if call.arguments.strip() else {}
    except orjson.JSONDecodeError as e:
        raise MalformedCall(
            f"{call.name}: the arguments are not valid JSON ({e}); send one JSON object, with quotes and newlines "
            "inside strings escaped."
        ) from None
    return spec, spec.parse(arguments)


async def run(record: Record, session: Session, spec: ToolSpec, call: ToolCall, arguments: Any) -> ToolResult:
    """One tool call under its deadline."""
    bound = record.task.limits.tool_seconds
    allowed = bound + min(GRACE, bound)
    if record.seconds_left is not None:
        allowed = min(allowed, record.seconds_left)
    began = record.clock()
    with boundary(EnvironmentFailure, f"{record.task.environment}: tool {call.name}"):
        try:
            async with asyncio.timeout(allowed) as deadline:
                result = await session.call(spec.name, arguments)
        except TimeoutError:
            if not deadline.expired():
                raise
            result = error(f"{call.name}: no result within {min(allowed, bound):g} seconds; the call was ended.")
    return encodable(result if result.seconds else result.model_copy(update={"seconds": record.clock() - began}))


def error(words: str) -> ToolResult:
    return ToolResult(text=words, is_error=True)


def encodable(result: ToolResult) -> ToolResult:
    """Text that UTF-8 can carry: bytes that were no text (surrogates) become question marks."""
    try:
        result.text.encode()
    except UnicodeEncodeError:
        return result.model_copy(update={"text": result.text.encode("utf-8", "replace").decode()})
    return result
