"""The model that plays a script."""

from pathlib import Path

import pytest

from rollout.model import Conversation, ModelError
from rollout.scripted import ScriptedModel, call, calls, read_actions, say
from rollout.trajectory import Message


def talk(prompt: str, answered: int = 0) -> Conversation:
    conversation = Conversation(key="r")
    conversation.append(Message(role="user", content=prompt))
    for _ in range(answered):
        conversation.append(Message(role="assistant", content="x"))
    return conversation


async def test_the_history_says_which_reply_comes_next() -> None:
    model = ScriptedModel([say("a"), say("b")])
    assert [(await model.complete(talk("q", n), {})).content for n in (1, 0, 1)] == ["b", "a", "b"]
    with pytest.raises(ModelError, match="the script has 2 replies"):
        await model.complete(talk("q", 2), {})


async def test_a_prompt_may_have_a_script_of_its_own() -> None:
    model = ScriptedModel([say("default")], by_prompt={"q1": [say("one")]})
    assert [(await model.complete(talk(q), {})).content for q in ("q1", "q2")] == ["one", "default"]


async def test_ids_of_calls_differ_within_a_conversation() -> None:
    model = ScriptedModel([calls(("a", {}), ("a", {})), call("a")])
    made = [c.id for n in (0, 1) for c in (await model.complete(talk("q", n), {})).tool_calls]
    assert made == ["call_0_0", "call_0_1", "call_1_0"]


async def test_an_exception_in_a_script_is_raised() -> None:
    with pytest.raises(ModelError, match="gone"):
        await ScriptedModel([ModelError("gone")]).complete(talk("q"), {})


def test_recorded_actions_are_read(tmp_path: Path) -> None:
    file = tmp_path / "actions.jsonl"
    file.write_text(
        '{"task": "t1", "actions": [{"name": "run_sql", "arguments": {"sql": "x"}}, {"content": "done"}]}\n\n'
        '{"task": "t2", "actions": [{"calls": [{"name": "a"}, {"name": "b", "arguments": "{raw"}]}]}\n'
    )
    assert read_actions(file) == {
        "t1": (call("run_sql", {"sql": "x"}), say("done")),
        "t2": (calls(("a", {}), ("b", "{raw")),),
    }


@pytest.mark.parametrize("line", ["{", '{"task": "t"}', "[]", '{"task": "t", "actions": [{"arguments": {}}]}'])
def test_a_broken_line_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "actions.jsonl"
    file.write_text('{"task": "t1", "actions": []}\n' + line)
    with pytest.raises(ValueError, match=r"actions\.jsonl:2: "):
        read_actions(file)
