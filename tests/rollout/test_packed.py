"""A finished turn comes back from bytes as it was."""

import pytest

from envs.blobs import blob_of
from envs.evidence import FULL, Coverage, Evidence
from envs.score import Submission
from envs.tool import ToolResult
from rollout.packed import Finished, pack, unpack
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
