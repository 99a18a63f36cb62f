"""A finished turn comes back from bytes as it was."""

from dataclasses import replace

import orjson
import pytest

from envs.blobs import blob_of
from envs.evidence import FULL, Coverage, Evidence
from envs.score import Submission
from envs.task import Task
from envs.tool import ToolResult
from rollout.packed import Finished, Turn, line_of, pack, turn_of, unpack
from rollout.record import Identity, Record
from rollout.scripted import say
from rollout.trajectory import Message, ModelCall, ToolCall, ToolStep, Usage

BLOB = blob_of("Gr\u00fc\u00dfe".encode())
EVIDENCE = (
    Evidence(kind="file", source="a.py", version="1", how="opened", coverage=FULL, blob=BLOB, base=BLOB, licence="MIT"),
    Evidence(
        kind="document",
        source="d",
        version="2",
        how="listed",
        coverage=Coverage(kind="partial", ranges=((0, 5), (9, 12))),
        blob=None,
        rank=1,
        score=0.1 + 0.2,
        query="q",
    ),
)
CALL = ModelCall(
    input=((0, 2), (4, 6)),
    output=6,
    raw='{"choices": []}',
    usage=Usage(prompt_tokens=3),
    seconds=0.1 + 0.2,
    sampling={"stop": ["a", None], "logit_bias": {"5": -1.5}},
    prompt_token_ids=(1, 2**31 - 1),
    logprobs=(-0.1, -9999.0),
)


def step(message: int, text: str, **result: object) -> ToolStep:
    call = ToolCall(id=f"c{message}", name="echo", arguments='{"a": "\U0001f600"}')
    return ToolStep(call=0, tool_call=call, message=message, result=ToolResult.model_validate({"text": text, **result}))


@pytest.mark.parametrize("reasoning", [None, "", "because\n"])
def test_a_turn_comes_back_as_it_was(reasoning: str | None) -> None:
    rows = Submission(kind="rows", text="[[1]]", columns=("n",), rows=((1, None, "x"), (2.5, True, "")), sql="select 1")
    steps = (
        step(1, "shown \u2603", raw=BLOB, shown=((0, 3),), hidden_bytes=7, evidence=EVIDENCE),
        step(2, "", is_error=True, submission=rows),
    )
    messages = [Message(role="user", content=""), *(Message(role="tool", content=s.result.text) for s in steps)]
    turn = Finished(call=CALL, reasoning=reasoning, steps=steps)
    assert unpack(pack(turn), messages) == turn


def test_the_shown_text_is_held_by_the_conversation_alone() -> None:
    turn = Finished(call=CALL, reasoning=None, steps=(step(0, "x" * 5000),))
    assert b"xxx" not in pack(turn)
    assert unpack(pack(turn), [Message(role="tool", content="another")]) != turn


@pytest.mark.parametrize("reasoning", [None, "", "because\n"])
def test_a_line_of_the_journal_is_the_turn(reasoning: str | None) -> None:
    said = Message(role="assistant", content="\u2028 two\nlines", reasoning=reasoning)
    messages = (said, Message(role="tool", content="one", tool_call_id="c7"), Message(role="user", content="Go on."))
    turn = Turn(3, CALL, messages, (step(7, "one", evidence=EVIDENCE),))
    line = line_of(turn)
    assert line.splitlines() == [line]
    assert turn_of(orjson.loads(line)) == turn
    assert turn_of(orjson.loads(line.replace(b'"one"', b'"two"'))) != turn


@pytest.mark.parametrize("send_reasoning", [False, True])
def test_a_record_hands_the_journal_the_line_of_its_turn(send_reasoning: bool) -> None:
    identity = Identity(run="r", rollout="o", attempt=1, trajectory="t")
    record = Record(Task(id="t", environment="e", question="q"), identity, "m", send_reasoning=send_reasoning)
    for i in range(3):
        call = ToolCall(id=f"c{i}", name="echo", arguments="{}")
        record.heard(replace(say("x"), reasoning="because", tool_calls=(call,)), {"seed": i})
        record.answered(call, ToolResult(text=f"told {i}", evidence=EVIDENCE))
        turn = record.turn()
        assert turn_of(orjson.loads(turn.line)) == turn
    assert len(record.freeze().steps) == 3
