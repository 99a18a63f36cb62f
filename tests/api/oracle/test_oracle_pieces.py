"""Small parts: chance, settings, recordings, finding a task, reading a conversation."""

import re
from pathlib import Path

import pytest

from api.oracle import Faults, Known, Library, OracleSettings, Recording, load_recordings, load_tasks
from api.oracle.chance import Chance
from api.oracle.conversation import read_request
from api.oracle.faults import transport_fault
from api.oracle.moves import Call, Move, Step
from api.problems import Problem
from envs.task import Reference, Task


def known(id: str, question: str) -> Known:
    return Known(Task(id=id, environment="search", question=question), Reference(data={"answers": ["x"]}))


def test_chance_is_even_and_repeats() -> None:
    draws = [Chance(("seed",)).draw(i) for i in range(2000)]
    assert draws == [Chance(("seed",)).draw(i) for i in range(2000)]
    assert [round(sum(d < share for d in draws) / 2000, 1) for share in (0.1, 0.5, 0.9)] == [0.1, 0.5, 0.9]


def test_faults_come_in_their_shares_and_never_two_at_once() -> None:
    faults = Faults(rate_limited=0.2, server_error=0.2, reset=0.1, hang=0.1)
    drawn = [transport_fault(faults, Chance(("s",)), 0, attempt) for attempt in range(5000)]
    shares = {name: round(drawn.count(name) / 5000, 1) for name in set(drawn)}
    assert shares == {None: 0.4, "rate_limited": 0.2, "server_error": 0.2, "reset": 0.1, "hang": 0.1}


def test_settings_that_make_no_sense_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="wrong is a share between 0 and 1, not 2"):
        OracleSettings(wrong=2)
    with pytest.raises(ValueError, match="malformed is a share"):
        Faults(malformed=-0.1)
    with pytest.raises(ValueError, match="add up to more than 1"):
        Faults(rate_limited=0.6, hang=0.6)
    with pytest.raises(ValueError, match="slots must be at least 1, not 0"):
        OracleSettings(slots=0)


def test_a_recording_is_read_with_its_raw_arguments(tmp_path: Path) -> None:
    path = tmp_path / "actions.jsonl"
    path.write_text('\n{"task":"a","actions":[{"name":"f","arguments":"{oops"},{"name":"g"},{"content":"done"}]}\n')
    (recording,) = load_recordings(path)
    assert recording == Recording(
        "a", (Move(calls=(Call("f", "{oops"),)), Move(calls=(Call("g", {}),)), Move(text="done"))
    )


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "line 2: "),
        ('{"actions":[]}', "line 2: field task: must be a task's id"),
        ('{"task":"a"}', "line 2: field actions: must be a list"),
        ('{"task":"a","actions":[{"arguments":{}}]}', "line 2: field actions.0: must have `name`"),
        (
            '{"task":"a","actions":[{"name":"f","arguments":[]}]}',
            "line 2: field actions.0.arguments: must be an object",
        ),
    ],
)
def test_a_broken_recording_names_line_and_field(tmp_path: Path, line: str, words: str) -> None:
    path = tmp_path / "actions.jsonl"
    path.write_text('{"task":"fine","actions":[]}\n' + line)
    with pytest.raises(ValueError, match=f"actions.jsonl, {words}"):
        load_recordings(path)


def test_a_compiled_prompt_finds_the_task_whose_question_stands_first() -> None:
    library = Library([known("short", "Who?"), known("long", "Who?\nAnd why?"), known("other", "When?")], str)
    assert library.contained("Read.\n\nQuestion: When?\n\n[1] Who?") == library.known[2]
    assert library.contained("Read.\n\nQuestion: Who?\nAnd why?\n\n[1] x") == library.known[1]
    assert library.contained("Question: Where?") is None


def test_tasks_without_a_reference_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    row = '"environment":"search","question":"Who?","world":{"corpus":"c"}'
    path.write_text(f'{{"id":"a",{row}}}\n\n{{"id":"b",{row},"reference":{{"answers":["x"]}}}}\n')
    assert [(one.task.id, one.reference.data) for one in load_tasks(path)] == [("b", {"answers": ["x"]})]


def test_a_conversation_is_read_as_steps() -> None:
    body = rb"""{"model":"oracle","seed":7,"messages":[
      {"role":"system","content":"s"},
      {"role":"user","content":[{"type":"text","text":"Wh"},{"type":"text","text":"o?"}]},
      {"role":"assistant","content":null,"tool_calls":[
        {"id":"1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}},
        {"id":"2","type":"function","function":{"name":"g","arguments":"{oops"}}]},
      {"role":"tool","tool_call_id":"1","content":"one"},
      {"role":"tool","tool_call_id":"2","content":"two"},
      {"role":"assistant","content":"hm"},
      {"role":"user","content":"Your message called no tool."}]}"""
    conversation = read_request(body)
    assert (conversation.first, conversation.turn, conversation.seed) == ("Who?", 2, "7")
    assert conversation.steps == (Step("f", {"a": 1}, "one", 0), Step("g", {}, "two", 0))


def test_a_broken_task_file_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "tasks.jsonl"
    file.write_text("\n{\n")
    with pytest.raises(Problem, match=rf"^{re.escape(str(file))}: line 2, not JSON"):
        load_tasks(file)
