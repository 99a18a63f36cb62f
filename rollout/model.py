"""The seam to language models: what the loop asks, what it gets, what can go wrong."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import orjson

from envs.errors import TrajcError
from rollout.trajectory import Message, ToolCall, Usage

CHUNK = 1 << 16


class ModelError(TrajcError):
    """The endpoint failed for good: retries used up."""

    failure = "model_error"


class ModelRefused(ModelError):
    """A request that cannot be made, or a 4xx with the server's own words."""

    permanent = True


class ModelUnauthorised(ModelRefused):
    """401 or 403: the endpoint wants a key, or another one."""


class ContextLengthExceeded(Exception):
    """The server refused the prompt as too long. A stop reason, not a failure."""


class TimeExceeded(Exception):
    """`Conversation.seconds_left` ran out in the middle of a call. A stop reason, not a failure."""


@dataclass(frozen=True)
class Reply:
    """One completion, after recovery of tool calls; `raw` is the body before it."""

    content: str | None
    reasoning: str | None
    tool_calls: tuple[ToolCall, ...]
    finish_reason: str | None
    usage: Usage
    raw: str
    recovered: bool = False
    seconds: float = 0.0
    waited: float = 0.0
    endpoint: str = ""
    revision: str | None = None
    prompt_token_ids: tuple[int, ...] | None = None
    output_token_ids: tuple[int, ...] | None = None
    logprobs: tuple[float, ...] | None = None
    attempts: int = 1

    def message(self) -> Message:
        return Message(role="assistant", content=self.content, reasoning=self.reasoning, tool_calls=self.tool_calls)


class Conversation:
    """The history of one rollout, kept only as serialised once while it grew: a turn costs what is new in it, and a
    long history one copy of its text.

    `key` names the rollout.
    """

    def __init__(self, key: str, tools: tuple[dict[str, Any], ...] = (), *, send_reasoning: bool = False) -> None:
        self.key = key
        self.tools = tools
        self.send_reasoning = send_reasoning
        """Whether the model is shown its own earlier reasoning (vLLM takes it; other servers may refuse it)."""
        self.home: str | None = None
        """The endpoint that served the last call, where this conversation's prefix cache is."""
        self.seconds_left: float | None = None
        """What the rollout's clock allows the next call, in seconds. Waiting for a slot does not count."""
        self.joined: list[bytes] = []
        self.loose: list[bytes] = []
        """The messages as wire JSON: both lists together are the inside of a JSON array. Old ones are joined into
        chunks of `CHUNK` bytes or more, so that a long history is written as it lies."""
        self.size = 0
        """Bytes of both."""
        self.roles: list[str] = []
        """Each message's."""
        self.last = b""
        """The last message as it stands there: behind a comma, where it is not the first."""
        self._loose = 0

    def __len__(self) -> int:
        """How many messages there are."""
        return len(self.roles)

    def append(self, message: Message) -> int:
        """Returns the message's index."""
        wire = orjson.dumps(message.wire(self.send_reasoning))
        # Joining also copies: orjson's own bytes hold on to several times their length.
        self.last = b"".join((b"," if self.roles else b"", wire))
        self.loose.append(self.last)
        self.size += len(self.last)
        self._loose += len(self.last)
        if self._loose >= CHUNK:
            self.joined.append(b"".join(self.loose))
            self.loose.clear()
            self._loose = 0
        self.roles.append(message.role)
        return len(self.roles) - 1

    @property
    def messages(self) -> tuple[Message, ...]:
        """Read back: without reasoning, unless that is sent."""
        wires = orjson.loads(b"".join((b"[", *self.joined, *self.loose, b"]")))
        return tuple(Message.from_wire(wire) for wire in wires)

    @cached_property
    def tools_json(self) -> bytes:
        return orjson.dumps(self.tools)


class Model(Protocol):
    """One model behind one or more endpoints."""

    name: str

    async def complete(self, conversation: Conversation, sampling: dict[str, Any]) -> Reply:
        """Raises `ModelError`, `ContextLengthExceeded` or `TimeExceeded`."""
        ...
