"""Going on where an earlier attempt stopped: its model calls are played back, its tool calls are made again.

A fresh environment is brought to the state that the earlier one was in by the same tool calls; the model is asked,
and paid, only from there on. Each repeated observation must equal the recorded one behind `mask`; where one does
not, `Diverged` ends the replay and the rollout starts anew.
"""

import re
from typing import Any

from rollout.model import Conversation, Model, Reply
from rollout.packed import Turn
from rollout.record import Journal
from rollout.trajectory import Message

_DAYS = "Mon|Tue|Wed|Thu|Fri|Sat|Sun"
_MONTHS = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
_CLOCK = r"\d\d:\d\d(?::\d\d(?: +[AP]M)?(?: +(?:UTC|GMT|[A-Z]{1,4}T))?(?: +\d{4})?(?: +[+-]\d{4})?)?"
_MASKS = (
    (re.compile(r"\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?"), "<date>"),
    (  # of `ls -l`, `date`, git and HTTP; a number before a month alone may be a file's size
        re.compile(
            rf"\b(?:(?:{_DAYS}),? +)?"
            rf"(?:(?:{_MONTHS}) +\d{{1,2}}|\d{{1,2}} (?:{_MONTHS})(?= \d{{4}}\b))(?: +\d{{4}})?(?: +{_CLOCK})?\b"
        ),
        "<date>",
    ),
    (re.compile(r"\b\d\d:\d\d(?::\d\d(?:\.\d+)?)?\b"), "<time>"),
    (re.compile(r"\b\d+m\d+(?:\.\d+)?s\b"), "<duration>"),
    (re.compile(r"\b\d+(?:\.\d+)? ?(?:ns|us|µs|ms|s|sec|secs|seconds?|min|minutes?)\b"), "<duration>"),
    (re.compile(r"(?i)\b(pid|process)([ =:#]+)\d+"), r"\1\2<pid>"),
    (re.compile(r"(?m)^\[(\d+)\] \d+$"), r"[\1] <pid>"),
    (re.compile(r"\b(?:[0-9a-f]{64}|[0-9a-f]{12})\b"), "<container>"),
    (re.compile(r"\b0x[0-9a-f]{6,16}\b"), "<address>"),
)


def mask(text: str) -> str:
    """The text without what changes from one run of the same command to the next: dates and times of day,
    durations, process ids, container ids (12 or 64 hexadecimal digits), memory addresses."""
    for pattern, instead in _MASKS:
        text = pattern.sub(instead, text)
    return text


class Diverged(Exception):
    """The environment answered a repeated tool call otherwise than it had before."""

    def __init__(self, turn: int, before: str, now: str) -> None:
        self.turn = turn
        """Index of the first turn that differs."""
        super().__init__(f"turn {turn} differs: {_first_difference(before, now)}")


class ReplayedModel:
    """A `Model` that plays back the recorded turns of one rollout, then asks the real one."""

    def __init__(self, model: Model, turns: tuple[Turn, ...]) -> None:
        self.name = model.name
        self._model = model
        self._turns = turns
        self._next = 0
        self._tokens: tuple[int, ...] = ()

    async def complete(self, conversation: Conversation, sampling: dict[str, Any]) -> Reply:
        if self._next == len(self._turns):
            return await self._model.complete(conversation, sampling)
        turn = self._turns[self._next]
        self._next += 1
        reply = self._reply(turn)
        prompt = reply.prompt_token_ids
        self._tokens = () if prompt is None else prompt + (reply.output_token_ids or ())
        if self._next == len(self._turns):
            conversation.home = turn.call.endpoint or None  # where its prefix cache may still be
        return reply

    def _reply(self, turn: Turn) -> Reply:
        call, said = turn.call, turn.messages[0]
        prompt = call.prompt_token_ids
        return Reply(
            content=said.content,
            reasoning=said.reasoning,
            tool_calls=said.tool_calls,
            finish_reason=call.finish_reason,
            usage=call.usage,
            raw=call.raw,
            recovered=call.recovered,
            seconds=call.seconds,
            waited=call.waited,
            endpoint=call.endpoint,
            revision=call.revision,
            prompt_token_ids=None if prompt is None else self._tokens[: call.prompt_tokens_shared] + prompt,
            output_token_ids=call.output_token_ids,
            logprobs=call.logprobs,
            attempts=call.attempts,
        )


class ReplayedJournal:
    """A `Journal` that compares the turns of a replay with the recorded ones on their way into another."""

    def __init__(self, journal: Journal, turns: tuple[Turn, ...]) -> None:
        self._journal = journal
        self._turns = turns

    async def turn(self, turn: Turn) -> None:
        """Raises `Diverged`."""
        if turn.index < len(self._turns):
            before, now = _seen(self._turns[turn.index].messages), _seen(turn.messages)
            if before != now:
                raise Diverged(turn.index, before, now)
        await self._journal.turn(turn)


def _seen(messages: tuple[Message, ...]) -> str:
    """What the model was shown after it spoke."""
    return mask("\x1e".join(f"{m.role}\x1f{m.content}" for m in messages[1:]))


def _first_difference(before: str, now: str) -> str:
    at = next((i for i, (a, b) in enumerate(zip(before, now, strict=False)) if a != b), min(len(before), len(now)))
    start = max(at - 20, 0)
    return f"{now[start : at + 60]!r} where there was {before[start : at + 60]!r}"
