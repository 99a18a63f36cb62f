"""What happened in one rollout, kept exactly: messages, model calls, tool results.

A trajectory is frozen when it is finished. Scores stand beside it (`rollout.store`), never in it.
"""

from collections.abc import Iterator
from typing import Any, Literal

from envs.errors import FailureClass
from envs.evidence import Evidence
from envs.frozen import Frozen, content_hash
from envs.score import Submission
from envs.task import Task
from envs.tool import ToolResult

StopReason = Literal[
    "answered",
    "no_tool_call",
    "max_turns",
    "max_tokens",
    "context_length",
    "timeout",
    "malformed_calls",
]
"""The normal ends of a rollout. Every other end is a `FailureClass` or a cancellation."""


class ToolCall(Frozen):
    id: str
    name: str
    arguments: str
    """Raw, as the model wrote it: often JSON, not always."""


class Message(Frozen):
    role: Literal["system", "user", "assistant", "tool"]
    content: str | None = None
    reasoning: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None

    def wire(self, with_reasoning: bool = False) -> dict[str, Any]:
        """The message as the OpenAI chat API takes it."""
        out: dict[str, Any] = {"role": self.role, "content": self.content}
        if self.tool_calls:
            out["tool_calls"] = [
                {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": c.arguments}}
                for c in self.tool_calls
            ]
        if self.tool_call_id is not None:
            out["tool_call_id"] = self.tool_call_id
        if with_reasoning and self.reasoning is not None:
            out["reasoning"] = self.reasoning
        return out

    @classmethod
    def from_wire(cls, wire: dict[str, Any]) -> "Message":
        """What `wire` gave."""
        calls = (
            ToolCall(id=c["id"], name=c["function"]["name"], arguments=c["function"]["arguments"])
            for c in wire.get("tool_calls", ())
        )
        return cls(
            role=wire["role"],
            content=wire["content"],
            reasoning=wire.get("reasoning"),
            tool_calls=tuple(calls),
            tool_call_id=wire.get("tool_call_id"),
        )


class Usage(Frozen):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0


class ModelCall(Frozen):
    """One request to an endpoint and what came back."""

    input: tuple[tuple[int, int], ...]
    """The exact input as half-open ranges of indexes into the trajectory's `messages`, so that trimming and
    branches are visible; an append-only history is one range from 0."""
    output: int
    """Index of the assistant message that this call became."""
    raw: str
    """The response body before any recovery, as JSON text."""
    recovered: bool = False
    """Whether tool calls were recovered from `content`."""
    finish_reason: str | None = None
    usage: Usage = Usage()
    seconds: float = 0.0
    waited: float = 0.0
    """Seconds before it that count towards no limit: for a slot, for an endpoint, between retries."""
    endpoint: str = ""
    """Base URL, without credentials."""
    model: str = ""
    sampling: dict[str, Any] = {}
    """Sampling parameters and seed as sent."""
    revision: str | None = None
    """Model and template revision, where the server tells (`system_fingerprint`)."""
    prompt_tokens_shared: int = 0
    """How many leading tokens of the prompt are those of the call before (its prompt, then its output) and are
    left out of `prompt_token_ids`, which would otherwise grow with the square of the turns."""
    prompt_token_ids: tuple[int, ...] | None = None
    output_token_ids: tuple[int, ...] | None = None
    logprobs: tuple[float, ...] | None = None
    attempts: int = 1
    """HTTP requests that this call took, retries included."""


class ToolStep(Frozen):
    """One tool call that was answered: `call` is the index into `calls` of the model call that asked for it."""

    call: int
    tool_call: ToolCall
    message: int
    """Index of the tool message that the model was shown."""
    malformed: bool = False
    result: ToolResult


class Mark(Frozen):
    """Something a reader must know: resumed, replayed, restarted."""

    kind: str
    words: str = ""
    at_call: int = 0


class Source(Frozen):
    """Where the trajectory came from: made here, or imported (file hash and position in it)."""

    kind: Literal["native", "imported"] = "native"
    file: str | None = None
    position: int | None = None
    format: str | None = None


class Trajectory(Frozen):
    id: str
    run: str
    rollout: str
    attempt: int
    sample: int = 0
    group: str = ""
    """Samples of one task in one run share it."""
    parent: str | None = None
    """Trajectory that spawned this one (sub-agents), with `parent_call`, the spawning tool call's id."""
    parent_call: str | None = None
    task: Task
    model: str
    tools: tuple[dict[str, Any], ...] = ()
    """Tool schemas as sent."""
    messages: tuple[Message, ...] = ()
    calls: tuple[ModelCall, ...] = ()
    steps: tuple[ToolStep, ...] = ()
    submission: Submission | None = None
    stop: StopReason | None = None
    """None for a partial trajectory (failed or cancelled)."""
    failure: FailureClass | None = None
    error: str = ""
    started: float = 0.0
    """Unix seconds."""
    seconds: float = 0.0
    """Time in model calls and tools."""
    marks: tuple[Mark, ...] = ()
    gaps: tuple[str, ...] = ()
    """What an import could not fill in."""
    source: Source = Source()

    @property
    def evidence(self) -> Iterator[tuple[ToolStep, Evidence]]:
        """Every piece met, in order, with the step that met it."""
        return ((step, piece) for step in self.steps for piece in step.result.evidence)

    def prompt_tokens(self, call: int) -> tuple[int, ...] | None:
        """The whole prompt of one call as token ids, where they were kept."""
        prompt: tuple[int, ...] | None = None
        history: tuple[int, ...] = ()
        for c in self.calls[: call + 1]:
            if c.prompt_token_ids is None:
                prompt, history = None, ()
            else:
                prompt = history[: c.prompt_tokens_shared] + c.prompt_token_ids
                history = prompt + (c.output_token_ids or ())
        return prompt

    @property
    def system_prompt(self) -> str | None:
        first = self.messages[0] if self.messages else None
        return first.content if first and first.role == "system" else None

    @property
    def usage(self) -> Usage:
        return Usage(
            prompt_tokens=sum(c.usage.prompt_tokens for c in self.calls),
            completion_tokens=sum(c.usage.completion_tokens for c in self.calls),
            cached_tokens=sum(c.usage.cached_tokens for c in self.calls),
        )

    @property
    def hash(self) -> str:
        """Over task, messages, calls and evidence; not timings, ids or endpoints. Rollouts may share one.

        The ids of tool calls are the server's random choice, so the order of the calls stands for them.
        """
        messages = [
            (m.role, m.content, m.reasoning, [(c.name, c.arguments) for c in m.tool_calls]) for m in self.messages
        ]
        calls = [(c.input, c.output, c.finish_reason, c.sampling) for c in self.calls]
        steps = [
            (
                s.call,
                s.message,
                s.tool_call.name,
                s.tool_call.arguments,
                s.result.model_dump(mode="json", exclude={"seconds"}),
            )
            for s in self.steps
        ]
        return content_hash([self.task, self.model, self.tools, messages, calls, steps, self.submission, self.stop])
