"""Token ids of an append-only history are kept once, and give every prompt back."""

from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.task import Task
from rollout.record import Identity, Record
from rollout.reply import read_reply
from rollout.scripted import say

IDENTITY = Identity(run="r", rollout="o", attempt=1, trajectory="t")
ids = st.lists(st.integers(0, 3), max_size=12).map(tuple)


def heard(*turns: tuple[tuple[int, ...] | None, tuple[int, ...] | None]) -> Record:
    record = Record(Task(id="t", environment="e", question="q"), IDENTITY, "m")
    for prompt, output in turns:
        record.heard(replace(say("x"), prompt_token_ids=prompt, output_token_ids=output), {})
    return record


def test_an_append_only_history_keeps_each_token_once() -> None:
    trajectory = heard(((1, 2), (3,)), ((1, 2, 3, 4), (5,)), ((1, 2, 3, 4, 5, 6, 7), (8,))).freeze()
    kept = [(c.prompt_tokens_shared, c.prompt_token_ids) for c in trajectory.calls]
    assert kept == [(0, (1, 2)), (3, (4,)), (5, (6, 7))]


def test_a_template_that_drops_old_thinking_is_seen_in_the_shared_count() -> None:
    trajectory = heard(((1, 2), (9, 3)), ((1, 2, 3, 4), (5,))).freeze()
    assert (trajectory.calls[1].prompt_tokens_shared, trajectory.prompt_tokens(1)) == (2, (1, 2, 3, 4))


@given(st.lists(st.tuples(st.none() | ids, st.none() | ids), max_size=6))
def test_every_prompt_comes_back_whole(turns: list[tuple[tuple[int, ...] | None, tuple[int, ...] | None]]) -> None:
    trajectory = heard(*turns).freeze()
    assert [trajectory.prompt_tokens(i) for i in range(len(turns))] == [prompt for prompt, _ in turns]


@pytest.mark.parametrize("ids", [[None], ["5"], [1, 2**31], [1.5], [[1]], [{}]])
def test_token_ids_that_are_none_cost_no_reply(ids: list[Any]) -> None:
    """What is paid for already would be paid for again, and end the same."""
    choice = {"message": {"content": "hi"}, "token_ids": ids}
    record = Record(Task(id="t", environment="e", question="q"), IDENTITY, "m")
    reply = read_reply(orjson.dumps({"choices": [choice], "prompt_token_ids": ids}), record.conversation, "e", 0.1)
    record.heard(reply, {})
    (call,) = record.freeze().calls
    assert (call.prompt_tokens_shared, call.prompt_token_ids, call.output_token_ids) == (0, None, None)
