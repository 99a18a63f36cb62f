"""Tool calls and reasoning found in content, and what must be left alone."""

import json
from typing import Any

import pytest

from rollout.recover import recover, split_reasoning


def tool(name: str, **properties: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": {"properties": properties}}}


TOOLS = [
    tool("search", query={"anyOf": [{"type": "string"}, {"type": "array"}]}, top_k={"type": "integer"}),
    tool("edit", text={"type": "string"}, force={"type": "boolean"}, at={"type": "array"}, by={"type": "number"}),
]


def found(content: str) -> tuple[str | None, list[tuple[str, Any]]]:
    prose, calls = recover(content, TOOLS)
    return prose, [(c.name, json.loads(c.arguments)) for c in calls]


HERMES = '<tool_call>\n{"name": "search", "arguments": {"query": "a"}}\n</tool_call>'
XML = "<tool_call>\n<function=search>\n<parameter=query>\na\n</parameter>\n</function>\n</tool_call>"


@pytest.mark.parametrize("call", [HERMES, XML, XML.removeprefix("<tool_call>\n").removesuffix("\n</tool_call>")])
def test_a_call_is_found_and_the_prose_around_it_kept(call: str) -> None:
    assert found(call) == (None, [("search", {"query": "a"})])
    assert found(f"First this.\n\n{call}\nthen that.") == (
        "First this.\n\n\nthen that.",
        [("search", {"query": "a"})],
    )


def test_several_calls_are_found_in_order_whatever_their_form() -> None:
    second = HERMES.replace('"a"', '"b"')
    assert found(f"{HERMES}\n{second}")[1] == [("search", {"query": "a"}), ("search", {"query": "b"})]
    assert found(f"{second}{XML}{second}")[1] == [("search", {"query": q}) for q in "bab"]


def test_a_closing_tag_inside_a_string_ends_nothing() -> None:
    arguments = {"text": 'a </tool_call> {"b"} "c"'}
    content = f"<tool_call>{json.dumps({'name': 'edit', 'arguments': arguments})}</tool_call>"
    assert found(content) == (None, [("edit", arguments)])


def test_a_missing_closing_tag_at_the_end_is_forgiven() -> None:
    assert found(HERMES.removesuffix("</tool_call>"))[1] == [("search", {"query": "a"})]


def test_arguments_under_other_names_and_as_text_are_read() -> None:
    assert found('<tool_call>{"name": "search", "parameters": {"query": "a"}}</tool_call>')[1] == [
        ("search", {"query": "a"})
    ]
    _, calls = recover('<tool_call>{"name": "search", "arguments": "{\\"query\\": 1}"}</tool_call>', TOOLS)
    assert calls[0].arguments == '{"query": 1}'
    assert found('<tool_call>{"name": "nothing"}</tool_call>')[1] == [("nothing", {})]


def test_newlines_inside_json_strings_are_forgiven() -> None:
    content = '<tool_call>{"name": "edit", "arguments": {"text": "a\nb"}}</tool_call>'
    assert found(content)[1] == [("edit", {"text": "a\nb"})]


@pytest.mark.parametrize(
    "content",
    [
        r'<tool_call>{"name": "search", "arguments": {"query": "a \ud83d"}}</tool_call>',
        r'<tool_call>{"name": "search", "arguments": "{\"query\": \"a \ud83d\"}"}</tool_call>',
    ],
)
def test_half_an_emoji_in_a_call_breaks_nothing(content: str) -> None:
    assert found(content)[1] == [("search", {"query": "a ?"})]


@pytest.mark.parametrize(
    "content",
    [
        '<tool_call>{"name": "search", "arguments": {"query": </tool_call>',
        '<tool_call>{"arguments": {"query": "a"}}</tool_call>',
        '<tool_call>{"name": "search"} and more</tool_call>',
        "<tool_call>search a</tool_call>",
        "<function=search><parameter=query>a</function>",
        "<function=search><parameter=query>a</parameter>",
        "<function=search>query: a</function>",
        "I would use <tool_call> here.",
        "[" * 100_000,
        "<tool_call>" + '{"a":' * 100_000,
        "",
    ],
)
def test_what_does_not_parse_is_left_alone(content: str) -> None:
    assert recover(content, TOOLS) == (content, ())


def test_a_good_call_beside_a_broken_one_is_found() -> None:
    broken = '<tool_call>{"name": </tool_call>'
    assert found(f"{broken} {HERMES}") == (broken, [("search", {"query": "a"})])


def xml(name: str, **parameters: str) -> str:
    body = "".join(f"<parameter={k}>\n{v}\n</parameter>\n" for k, v in parameters.items())
    return f"<tool_call>\n<function={name}>\n{body}</function>\n</tool_call>"


@pytest.mark.parametrize(
    ("name", "parameters", "arguments"),
    [
        ("search", {"query": "5", "top_k": "5"}, {"query": "5", "top_k": 5}),
        ("search", {"query": '["a", "b"]'}, {"query": ["a", "b"]}),
        ("search", {"query": '{"a": 1}', "top_k": "many"}, {"query": '{"a": 1}', "top_k": "many"}),
        ("edit", {"text": "true", "force": "true", "by": "0.5"}, {"text": "true", "force": True, "by": 0.5}),
        ("edit", {"text": "\n  indented\n\n", "at": "[1, 2]"}, {"text": "\n  indented\n\n", "at": [1, 2]}),
        ("edit", {"text": "</parameter> <b>&amp;"}, {"text": "</parameter> <b>&amp;"}),
        ("unknown", {"x": "1"}, {"x": "1"}),
        ("list_tables", {}, {}),
    ],
)
def test_xml_values_get_the_schemas_types(name: str, parameters: dict[str, str], arguments: Any) -> None:
    assert found(xml(name, **parameters)) == (None, [(name, arguments)])


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("<think>\nbecause\n</think>\n\nyes", ("yes", "because")),
        ("because\n</think>\nyes", ("yes", "because")),
        ("<think>because</think>", (None, "because")),
        ("<think></think>yes", ("yes", None)),
        ("<think>never closed", ("<think>never closed", None)),
        ("I write <think> and </think>", ("I write <think> and </think>", None)),
        ("plain", ("plain", None)),
    ],
)
def test_reasoning_in_content_is_split_off(content: str, expected: tuple[str | None, str | None]) -> None:
    assert split_reasoning(content) == expected


def test_a_call_that_another_call_quotes_is_not_made() -> None:
    quoted_xml = "<function=edit><parameter=force>true</parameter></function>"
    hermes = json.dumps({"name": "edit", "arguments": {"text": f"echo '{quoted_xml}'"}})
    assert found(f"<tool_call>{hermes}</tool_call> so.") == ("so.", [("edit", {"text": f"echo '{quoted_xml}'"})])
    xml = f"<function=edit>\n<parameter=text>\nSay {HERMES}.\n</parameter>\n</function>"
    assert found(f"{xml} so.") == ("so.", [("edit", {"text": f"Say {HERMES}."})])


def test_a_reply_that_stutters_does_not_hold_up_the_process() -> None:
    stuttered = "<function=" * 20_000
    assert recover(stuttered, TOOLS) == (stuttered, ())
