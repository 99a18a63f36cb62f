"""A rollout while it happens: what was said, called and answered so far.

Whoever runs a rollout owns its `Record`, so that nothing is lost when the loop raises or is cancelled:
`Record.freeze` gives the trajectory at any moment, finished or partial.
"""

import time
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol

from envs.environment import Environment
from envs.errors import FailureClass
from envs.score import Submission
from envs.task import Task
from envs.tool import ToolResult, ToolSpec
from rollout.model import Conversation, Reply
from rollout.packed import Finished, Turn, joined, pack, unpack
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
        self.turns = 0
        """Model calls so far."""
        self.was_nudged = False
        """Whether the last message of the model answered a nudge."""
        self.submission: Submission | None = None
        self.seconds = 0.0
        self.tokens = 0
        self.malformed = 0
        self.started = now()
        self._finished: list[bytes] = []
        self._now: _Now | None = None
        self._tokens = array("i")

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
        return "max_turns" if self.turns >= limits.max_turns else None

    def sampling(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """The sampling parameters of the next call: no more tokens than the rollout has left."""
        bound = self.task.limits.max_tokens
        if bound is None:
            return dict(wanted)
        key = "max_completion_tokens" if "max_completion_tokens" in wanted else "max_tokens"
        return {**wanted, key: min(wanted.get(key) or bound, bound - self.tokens)}

    def heard(self, reply: Reply, sampling: dict[str, Any]) -> None:
        """The model spoke."""
        if self._now is not None:
            self._finished.append(self._now.as_bytes)
        self.was_nudged = self._now is not None and self._now.added[-1].role == "user"
        before = len(self.conversation)
        said = reply.message()
        output = self.conversation.append(said)
        shared, prompt = self._new_tokens(reply)
        call = ModelCall(
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
        self._now = _Now(call, [said], [self.conversation.last])
        self.turns += 1
        self.seconds += reply.seconds
        self.tokens += reply.usage.completion_tokens or len(reply.output_token_ids or ())

    @property
    def said(self) -> Message:
        """The model's last message."""
        return self._turn.added[0]

    @property
    def call(self) -> ModelCall:
        """The last model call."""
        return self._turn.call

    def answered(self, call: ToolCall, result: ToolResult, *, malformed: bool = False) -> None:
        """A tool call has its result, which the model is shown."""
        index = self._add(Message(role="tool", content=result.text, tool_call_id=call.id))
        step = ToolStep(call=self.turns - 1, tool_call=call, message=index, malformed=malformed, result=result)
        self._turn.steps.append(step)
        self.seconds += result.seconds
        self.malformed += malformed
        if result.submission is not None:
            self.submission = result.submission

    def nudged(self, words: str) -> None:
        """The model called nothing, or nothing usable, and is told so."""
        self._add(Message(role="user", content=words))
        self.malformed += 1

    def turn(self) -> Turn:
        """The turn that the last call began."""
        now = self._turn
        index = self.turns - 1
        return Turn(index, now.call, tuple(now.added), tuple(now.steps), joined(index, now.as_bytes, now.wires))

    @property
    def calls(self) -> tuple[ModelCall, ...]:
        return self.freeze().calls

    def freeze(
        self,
        stop: StopReason | None = None,
        submission: Submission | None = None,
        failure: FailureClass | None = None,
        error: str = "",
    ) -> Trajectory:
        """The trajectory as it stands: finished with a stop reason, partial without one."""
        i = self.identity
        messages = list(self.conversation.messages)
        turns = [unpack(packed, messages) for packed in self._finished]
        if self._now is not None:
            turns.append(self._now.finished)
        for turn in turns:
            said = messages[turn.call.output]
            if said.reasoning != turn.reasoning:
                messages[turn.call.output] = said.model_copy(update={"reasoning": turn.reasoning})
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
            messages=tuple(messages),
            calls=tuple(turn.call for turn in turns),
            steps=tuple(step for turn in turns for step in turn.steps),
            submission=submission,
            stop=stop,
            failure=failure,
            error=error,
            started=self.started,
            seconds=self.seconds,
            marks=self.marks,
        )

    @property
    def _turn(self) -> "_Now":
        if self._now is None:
            raise RuntimeError("the model has not spoken yet")
        return self._now

    def _add(self, message: Message) -> int:
        index, now = self.conversation.append(message), self._turn
        now.added.append(message)
        now.wires.append(self.conversation.last)
        now.packed = b""
        return index

    def _new_tokens(self, reply: Reply) -> tuple[int, tuple[int, ...] | None]:
        """How many prompt tokens the history already holds, and those that it does not."""
        try:
            prompt = None if reply.prompt_token_ids is None else array("i", reply.prompt_token_ids)
        except (TypeError, OverflowError):  # what no token ids can be
            prompt = None
        if prompt is None:
            self._tokens = array("i")
            return 0, None
        shared = common_prefix(self._tokens, prompt)
        self._tokens = prompt + array("i", reply.output_token_ids or ())
        return shared, tuple(prompt[shared:])


@dataclass
class _Now:
    """The turn that is going on, as objects."""

    call: ModelCall
    added: list[Message]
    wires: list[bytes]
    """The same, as the conversation wrote them."""
    steps: list[ToolStep] = field(default_factory=list)
    packed: bytes = b""
    """`as_bytes`, once made."""

    @property
    def as_bytes(self) -> bytes:
        self.packed = self.packed or pack(self.finished)
        return self.packed

    @property
    def finished(self) -> Finished:
        return Finished(call=self.call, reasoning=self.added[0].reasoning, steps=tuple(self.steps))


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
