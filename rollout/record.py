"""A rollout while it happens: what was said, called and answered so far.

Whoever runs a rollout owns its `Record`, so that nothing is lost when the loop raises or is cancelled:
`Record.freeze` gives the trajectory at any moment, finished or partial.
"""

import time
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from envs.environment import Environment
from envs.errors import FailureClass
from envs.frozen import Frozen
from envs.score import Submission
from envs.task import Task
from envs.tool import ToolResult, ToolSpec
from rollout.model import Conversation, Reply
from rollout.trajectory import Mark, Message, ModelCall, StopReason, ToolCall, ToolStep, Trajectory


@dataclass(frozen=True)
class Identity:
    """Which rollout, attempt and trajectory this is; the fields are `Trajectory`'s."""

    run: str
    rollout: str
    attempt: int
    trajectory: str
    sample: int = 0
    group: str = ""
    parent: str | None = None
    parent_call: str | None = None


class Turn(Frozen):
    """One model call with all that followed from it, as the journal keeps it."""

    index: int
    call: ModelCall
    messages: tuple[Message, ...]
    """What the turn added to the history: the assistant's message first, then tool answers or a nudge."""
    steps: tuple[ToolStep, ...] = ()


class Journal(Protocol):
    async def turn(self, turn: Turn) -> None:
        """Keep a finished turn. The next model call is made only after this returns."""
        ...


class NoJournal:
    """Keeps nothing: for tests and for callers that can afford to start anew."""

    async def turn(self, turn: Turn) -> None:
        pass


class Record:
    """`clock` gives seconds that only grow; `now` gives Unix seconds."""

    def __init__(
        self,
        task: Task,
        identity: Identity,
        model: str,
        *,
        marks: tuple[Mark, ...] = (),
        send_reasoning: bool = False,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.task = task
        self.identity = identity
        self.model = model
        self.marks = marks
        self.clock = clock
        self.conversation = Conversation(key=identity.rollout, send_reasoning=send_reasoning)
        self.calls: list[ModelCall] = []
        self.steps: list[ToolStep] = []
        self.submission: Submission | None = None
        self.seconds = 0.0
        self.tokens = 0
        self.malformed = 0
        self.started = now()
        self._tokens = array("q")
        self._turn_start = (0, 0)

    def begin(self, environment: Environment) -> None:
        self.conversation.tools = schemas(tuple(environment.tools))
        self.conversation.append(Message(role="system", content=environment.system_prompt))
        self.conversation.append(Message(role="user", content=environment.prompt(self.task)))

    @property
    def seconds_left(self) -> float | None:
        bound = self.task.limits.max_seconds
        return None if bound is None else max(bound - self.seconds, 0.0)

    def limit(self) -> StopReason | None:
        """The limit that is reached, if one is."""
        limits = self.task.limits
        if self.malformed > limits.max_malformed:
            return "malformed_calls"
        if self.seconds_left == 0.0:
            return "timeout"
        if limits.max_tokens is not None and self.tokens >= limits.max_tokens:
            return "max_tokens"
        return "max_turns" if len(self.calls) >= limits.max_turns else None

    def sampling(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """The sampling parameters of the next call: no more tokens than the rollout has left."""
        bound = self.task.limits.max_tokens
        if bound is None:
            return dict(wanted)
        key = "max_completion_tokens" if "max_completion_tokens" in wanted else "max_tokens"
        return {**wanted, key: min(wanted.get(key) or bound, bound - self.tokens)}

    def heard(self, reply: Reply, sampling: dict[str, Any]) -> None:
        """The model spoke."""
        self._turn_start = (len(self.conversation.messages), len(self.steps))
        before = len(self.conversation.messages)
        output = self.conversation.append(reply.message())
        shared, prompt = self._new_tokens(reply)
        self.calls.append(
            ModelCall(
                input=((0, before),),
                output=output,
                raw=reply.raw,
                recovered=reply.recovered,
                finish_reason=reply.finish_reason,
                usage=reply.usage,
                seconds=reply.seconds,
                waited=reply.waited,
                endpoint=reply.endpoint,
                model=self.model,
                sampling=sampling,
                revision=reply.revision,
                prompt_tokens_shared=shared,
                prompt_token_ids=prompt,
                output_token_ids=reply.output_token_ids,
                logprobs=reply.logprobs,
                attempts=reply.attempts,
            )
        )
        self.seconds += reply.seconds
        self.tokens += reply.usage.completion_tokens or len(reply.output_token_ids or ())

    def answered(self, call: ToolCall, result: ToolResult, *, malformed: bool = False) -> None:
        """A tool call has its result, which the model is shown."""
        message = self.conversation.append(Message(role="tool", content=result.text, tool_call_id=call.id))
        step = ToolStep(call=len(self.calls) - 1, tool_call=call, message=message, malformed=malformed, result=result)
        self.steps.append(step)
        self.seconds += result.seconds
        self.malformed += malformed
        if result.submission is not None:
            self.submission = result.submission

    def nudged(self, words: str) -> None:
        """The model called nothing, or nothing usable, and is told so."""
        self.conversation.append(Message(role="user", content=words))
        self.malformed += 1

    @property
    def was_nudged(self) -> bool:
        """Whether the last message but one was a nudge: the model was told, and called nothing again."""
        asked = self.conversation.messages[-2]
        return asked.role == "user" and len(self.calls) > 1

    def turn(self) -> Turn:
        """The turn that the last call began."""
        message, step = self._turn_start
        return Turn(
            index=len(self.calls) - 1,
            call=self.calls[-1],
            messages=tuple(self.conversation.messages[message:]),
            steps=tuple(self.steps[step:]),
        )

    def freeze(
        self,
        stop: StopReason | None = None,
        submission: Submission | None = None,
        failure: FailureClass | None = None,
        error: str = "",
    ) -> Trajectory:
        """The trajectory as it stands: finished with a stop reason, partial without one."""
        i = self.identity
        return Trajectory(
            id=i.trajectory,
            run=i.run,
            rollout=i.rollout,
            attempt=i.attempt,
            sample=i.sample,
            group=i.group,
            parent=i.parent,
            parent_call=i.parent_call,
            task=self.task,
            model=self.model,
            tools=self.conversation.tools,
            messages=tuple(self.conversation.messages),
            calls=tuple(self.calls),
            steps=tuple(self.steps),
            submission=submission,
            stop=stop,
            failure=failure,
            error=error,
            started=self.started,
            seconds=self.seconds,
            marks=self.marks,
        )

    def _new_tokens(self, reply: Reply) -> tuple[int, tuple[int, ...] | None]:
        """How many prompt tokens the history already holds, and those that it does not."""
        if reply.prompt_token_ids is None:
            self._tokens = array("q")
            return 0, None
        prompt = array("q", reply.prompt_token_ids)
        shared = common_prefix(self._tokens, prompt)
        self._tokens = prompt + array("q", reply.output_token_ids or ())
        return shared, tuple(prompt[shared:])


@lru_cache(maxsize=64)
def schemas(tools: tuple[ToolSpec, ...]) -> tuple[dict[str, Any], ...]:
    """Made once for an environment and shared by its rollouts."""
    return tuple(spec.schema for spec in tools)


def common_prefix(a: "array[int]", b: "array[int]") -> int:
    """By bisection over slices that compare as memory does: an append-only history costs one comparison."""
    low, high = 0, min(len(a), len(b))
    if a[:high] == b[:high]:
        return high
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if a[low:middle] == b[low:middle] else (low, middle - 1)
    return low
