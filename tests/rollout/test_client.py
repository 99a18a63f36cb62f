"""The chat client against a real HTTP server that misbehaves."""

import asyncio
import logging
import time
from typing import Any

import orjson
import pytest
from aiohttp import web

from rollout.client import ChatClient, Timeouts
from rollout.model import ContextLengthExceeded, Conversation, ModelError, ModelRefused, TimeExceeded
from rollout.retry import Backoff
from rollout.trajectory import Message, ToolCall, Usage
from tests.ports import free_port

QUICK = Backoff(attempts=3, timeout_attempts=2, base=0.01, cap=0.02)
TOOL = {"type": "function", "function": {"name": "echo", "description": "", "parameters": {}}}
OK = {
    "choices": [{"message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 7, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}},
    "system_fingerprint": "v9",
}


def answer(body: Any, status: int = 200, **headers: str) -> Any:
    async def handler(_: web.Request) -> web.Response:
        data = body if isinstance(body, bytes) else orjson.dumps(body)
        return web.Response(body=data, status=status, headers=headers, content_type="application/json")

    return handler


def saying(message: dict[str, Any], **more: Any) -> Any:
    return answer({"choices": [{"message": message}], **more})


async def reset(request: web.Request) -> web.StreamResponse:
    """Half an answer, then the connection breaks."""
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b'{"choices": [')
    assert request.transport is not None
    request.transport.abort()
    return response


async def hang(_: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


def history(*tools: dict[str, Any]) -> Conversation:
    conversation = Conversation(key="r1", tools=tools)
    conversation.append(Message(role="system", content="Be brief."))
    conversation.append(Message(role="user", content='Grüße \U0001f600 "quoted"\n'))
    return conversation


async def ask(base_url: str, conversation: Conversation | None = None, sampling: Any = None, **options: Any) -> Any:
    options = {"backoff": QUICK, "timeouts": Timeouts(connect=60, total=600), **options}
    async with ChatClient(base_url, "m", **options) as client:
        return await client.complete(conversation or history(), sampling or {})


async def test_the_request_is_the_openai_chat_request(serve: Any) -> None:
    server = await serve(answer(OK))
    conversation = history(TOOL)
    call = ToolCall(id="c1", name="echo", arguments='{"text": "a"}')
    conversation.append(Message(role="assistant", reasoning="secret thought", tool_calls=(call,)))
    conversation.append(Message(role="tool", content="a", tool_call_id="c1"))
    sampling = {"temperature": 0.5, "top_k": 20, "extra_body": {"return_token_ids": True}}
    await ask(server.base_url + "/", conversation, sampling, api_key="sk-1")
    headers, body = server.seen[0]
    assert headers["Authorization"] == "Bearer sk-1"
    assert body == {
        "model": "m",
        "temperature": 0.5,
        "top_k": 20,
        "return_token_ids": True,
        "tools": [TOOL],
        "messages": [m.wire() for m in conversation.messages],
    }


async def test_a_long_history_arrives_whole(serve: Any) -> None:
    server = await serve(answer(OK))
    conversation = history()
    for i in range(300):
        conversation.append(Message(role="user", content=f"{i} é" * 2000))
    await ask(server.base_url, conversation)
    assert server.seen[0][1]["messages"] == [m.wire() for m in conversation.messages]


async def test_reasoning_is_sent_back_only_where_asked_for(serve: Any) -> None:
    server = await serve(answer(OK))
    for send in (False, True):
        conversation = Conversation(key="r", send_reasoning=send)
        conversation.append(Message(role="assistant", content="a", reasoning="because"))
        await ask(server.base_url, conversation)
    assert ["reasoning" in body["messages"][0] for _, body in server.seen] == [False, True]


async def test_a_reply_carries_all_that_the_server_told(serve: Any) -> None:
    server = await serve(answer(OK))
    reply = await ask(server.base_url)
    assert (reply.content, reply.finish_reason, reply.revision) == ("hello", "stop", "v9")
    assert reply.usage == Usage(prompt_tokens=7, completion_tokens=2, cached_tokens=4)
    assert orjson.loads(reply.raw) == OK
    assert (reply.endpoint, reply.attempts, reply.recovered) == (server.base_url, 1, False)


async def test_token_ids_and_logprobs_are_kept_once(serve: Any) -> None:
    choice = {
        "message": {"content": "hi"},
        "token_ids": [5, 6],
        "logprobs": {"content": [{"token": "h", "logprob": -0.5}, {"token": "i", "logprob": -1.5}]},
    }
    server = await serve(answer({"choices": [choice], "prompt_token_ids": [1, 2, 3]}))
    reply = await ask(server.base_url)
    assert (reply.prompt_token_ids, reply.output_token_ids) == ((1, 2, 3), (5, 6))
    assert reply.logprobs == (-0.5, -1.5)
    assert orjson.loads(reply.raw) == {"choices": [{"message": {"content": "hi"}}]}


async def test_logprobs_with_alternatives_stay_in_the_raw_body(serve: Any) -> None:
    tokens = [{"token": "h", "logprob": -0.5, "top_logprobs": [{"token": "x", "logprob": -0.9}]}]
    server = await serve(answer({"choices": [{"message": {"content": "h"}, "logprobs": {"content": tokens}}]}))
    reply = await ask(server.base_url)
    assert orjson.loads(reply.raw)["choices"][0]["logprobs"] == {"content": tokens}


@pytest.mark.parametrize(
    ("message", "content", "reasoning"),
    [
        ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, "ab", None),
        ({"content": [{"type": "thinking", "thinking": "t"}, {"type": "text", "text": "b"}]}, "b", "t"),
        ({"content": "b", "reasoning": "t"}, "b", "t"),
        ({"content": "b", "reasoning_content": "t"}, "b", "t"),
        ({"content": "<think>\nt\n</think>\n\nb"}, "b", "t"),
        ({"content": "t</think>b"}, "b", "t"),
        ({}, None, None),
    ],
)
async def test_odd_messages_are_read(serve: Any, message: Any, content: str | None, reasoning: str | None) -> None:
    server = await serve(saying(message))
    reply = await ask(server.base_url)
    assert (reply.content, reply.reasoning) == (content, reasoning)


@pytest.mark.parametrize(
    ("body", "content", "logprobs"),
    [
        (rb'{"choices":[{"message":{"content":"hi \ud83d"}}]}', "hi ?", None),
        (rb'{"choices":[{"message":{"content":"hi \ud83d\ude00 \ud83d"}}]}', "hi \U0001f600 ?", None),
        (b'{"choices":[{"message":{"content":"hi \xf0\x9f"}}]}', "hi \ufffd", None),
        (b'\xef\xbb\xbf{"choices":[{"message":{"content":"hi"}}]}', "hi", None),
        (
            b'{"choices":[{"message":{"content":"hi"},"logprobs":{"content":[{"logprob":-Infinity},{"logprob":NaN}]}}]}',
            "hi",
            (-9999.0, 0.0),
        ),
        (b'{"choices":[{"message":{"content":"hi"},"logprobs":{"content":[{"logprob":"?"}]}}]}', "hi", (0.0,)),
        (b'{"choices":[{"message":{"content":"hi"},"logprobs":{"content":5}}]}', "hi", None),
    ],
)
async def test_a_reply_that_is_nearly_json_is_not_paid_for_again(
    serve: Any, body: bytes, content: str, logprobs: Any
) -> None:
    server = await serve(answer(body))
    reply = await ask(server.base_url)
    assert (reply.content, reply.logprobs, len(server.seen)) == (content, logprobs, 1)


@pytest.mark.parametrize("tokens", [10**18, -5, "many", None, 1e300])
async def test_a_count_of_tokens_that_cannot_be_one_counts_for_nothing(serve: Any, tokens: Any) -> None:
    usage = {"prompt_tokens": tokens, "completion_tokens": 3}
    server = await serve(answer({"choices": [{"message": {"content": "hi"}}], "usage": usage}))
    assert (await ask(server.base_url)).usage == Usage(completion_tokens=3)


async def test_odd_tool_calls_are_read(serve: Any) -> None:
    wanted = [
        {"id": "a", "function": {"name": "echo", "arguments": '{"x": 1}'}},
        {"id": "a", "function": {"name": "echo", "arguments": {"x": 2}}},
        {"function": {"name": None, "arguments": None}},
        "nonsense",
    ]
    server = await serve(saying({"content": None, "tool_calls": wanted}))
    reply = await ask(server.base_url, history(TOOL))
    assert reply.tool_calls == (
        ToolCall(id="a", name="echo", arguments='{"x": 1}'),
        ToolCall(id="call_2_1", name="echo", arguments='{"x":2}'),
        ToolCall(id="call_2_2", name="", arguments=""),
        ToolCall(id="call_2_3", name="", arguments=""),
    )


async def test_tool_calls_left_in_content_are_recovered(serve: Any) -> None:
    text = 'Let me look.\n<tool_call>\n{"name": "echo", "arguments": {"text": "a"}}\n</tool_call>'
    server = await serve(saying({"content": text}))
    reply = await ask(server.base_url, history(TOOL))
    call = ToolCall(id="call_2_0", name="echo", arguments='{"text": "a"}')
    assert (reply.content, reply.tool_calls, reply.recovered) == ("Let me look.", (call,), True)
    assert orjson.loads(reply.raw)["choices"][0]["message"]["content"] == text
    assert (await ask(server.base_url)).content == text, "without tools it is only text"


async def test_a_tool_call_at_the_end_of_unclosed_thinking_is_recovered(serve: Any) -> None:
    text = '<tool_call>{"name": "echo", "arguments": {}}</tool_call>'
    server = await serve(
        saying({"content": None, "reasoning": f"I will call it.\n{text}"}),
        saying({"content": None, "reasoning": f"Should I write {text}? No."}),
        saying({"content": "Done.", "reasoning": f"I could have written {text}"}),
    )
    reply = await ask(server.base_url, history(TOOL))
    assert (reply.reasoning, [c.name for c in reply.tool_calls]) == ("I will call it.", ["echo"])
    for _ in range(2):
        assert (await ask(server.base_url, history(TOOL))).tool_calls == ()


@pytest.mark.parametrize(
    "fault",
    [
        answer({"error": {"message": "slow down"}}, 429),
        answer(b"upstream gone", 502),
        answer({"error": {"message": "engine died"}}, 500),
        answer(b'{"choices": [{"mess'),
        answer(b""),
        answer({"choices": None}),
        answer({"choices": []}),
        answer([]),
        answer({"error": {"message": "overloaded", "code": 503}}),
        reset,
    ],
    ids=["429", "502", "500", "cut", "empty", "null", "none", "list", "error-in-200", "reset"],
)
async def test_a_passing_fault_is_asked_again(serve: Any, fault: Any) -> None:
    server = await serve(fault, fault, answer(OK))
    reply = await ask(server.base_url)
    assert (reply.content, reply.attempts, len(server.seen)) == ("hello", 3, 3)
    assert server.seen[0][1] == server.seen[2][1]


@pytest.mark.parametrize("reason", ["abort", "error"])
async def test_a_reply_that_the_server_broke_off_is_no_answer_and_is_asked_for_again(serve: Any, reason: str) -> None:
    half = {"choices": [{"message": {"content": "Answer: 4"}, "finish_reason": reason}]}
    server = await serve(answer(half), answer(OK))
    reply = await ask(server.base_url)
    assert (reply.content, reply.finish_reason, reply.attempts) == ("hello", "stop", 2)


async def test_a_lasting_fault_is_a_model_error_with_the_servers_words(serve: Any) -> None:
    server = await serve(answer({"error": {"message": "engine died", "type": "EngineDeadError"}}, 500))
    with pytest.raises(ModelError) as e:
        await ask(server.base_url)
    told = f"{server.base_url} answered 500: engine died (EngineDeadError) (gave up after 3 attempts)"
    assert (str(e.value), len(server.seen)) == (told, 3)


async def test_retry_after_is_waited_for_and_counts_as_waiting(serve: Any) -> None:
    server = await serve(answer({}, 429, **{"Retry-After": "0.3"}), answer(OK))
    began = time.monotonic()
    reply = await ask(server.base_url)
    assert reply.waited >= 0.3
    assert reply.waited + reply.seconds <= time.monotonic() - began, "a wait is no part of a call's time"


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (401, {"error": {"message": "bad key sk-secret"}}, "bad key ***"),
        (404, {"object": "error", "message": "no model m", "type": "NotFoundError"}, "no model m (NotFoundError)"),
        (400, {"detail": "what?"}, "what?"),
        (403, b"<html>forbidden</html>", "<html>forbidden</html>"),
        (307, b"", "(an empty body)"),
    ],
)
async def test_other_refusals_fail_at_once_without_the_key(serve: Any, status: int, body: Any, words: str) -> None:
    server = await serve(answer(body, status))
    with pytest.raises(ModelError) as e:
        await ask(server.base_url, api_key="sk-secret")
    assert str(e.value) == f"{server.base_url} answered {status}: {words}"
    assert len(server.seen) == 1


async def test_the_key_is_in_no_repr_log_or_error(serve: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    said = rb'{"message": "who is sk-secret, sk-\u0073ecret and pass-word? (Basic bWU6cGFzcy13b3Jk)"}'
    server = await serve(answer(said, 500))
    base_url = server.base_url.replace("http://", "http://me:pass-word@")
    async with ChatClient(base_url, "m", api_key="sk-secret", backoff=QUICK) as client:
        with pytest.raises(ModelError) as e:
            await client.complete(history(), {})
        told = repr(client) + repr(e.value) + caplog.text + client.endpoint
    assert "sk-secret" not in told
    assert "pass-word" not in told
    assert "bWU6cGFzcy13b3Jk" not in told
    assert server.seen[0][0]["Authorization"] == "Bearer sk-secret"


async def test_a_key_that_is_an_ordinary_word_changes_no_completion(serve: Any) -> None:
    server = await serve(saying({"content": "the table is EMPTY"}))
    assert (await ask(server.base_url, api_key="EMPTY")).content == "the table is EMPTY"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"error": {"message": "This model's maximum context length is 4096 tokens. However, your request has"}}),
        (400, {"message": "The decoder prompt (length 9) is longer than the maximum model length of 8."}),
        (400, {"error": {"message": "too long", "code": "context_length_exceeded"}}),
        (400, {"error": {"message": "request (9 tokens) exceeds the available context size (8 tokens)"}}),
        (500, {"error": {"message": "Context size has been exceeded.", "type": "server_error"}}),
        (200, {"error": {"code": 400, "message": "the request", "type": "exceed_context_size_error"}}),
        (400, {"message": "The input (9 tokens) is longer than the model's context length (8 tokens)."}),
    ],
)
async def test_a_prompt_refused_as_too_long_is_no_failure(serve: Any, status: int, body: Any) -> None:
    server = await serve(answer(body, status))
    with pytest.raises(ContextLengthExceeded):
        await ask(server.base_url)
    assert len(server.seen) == 1


VLLM = (
    "'max_tokens' or 'max_completion_tokens' is too large: {}. This model's maximum context length is 8192 tokens and "
    "your request has 100 input tokens ({} > 8192 - 100). (BadRequestError)"
)
OPENAI = (
    "This model's maximum context length is 8192 tokens. However, you requested {} tokens (100 in the messages, {} in "
    "the completion). Please reduce the length of the messages or completion."
)


@pytest.mark.parametrize("words", [VLLM, OPENAI])
async def test_max_tokens_that_no_prompt_leaves_room_for_are_no_end_of_a_rollout(serve: Any, words: str) -> None:
    """Otherwise each rollout of the run would end at once as `context_length`, and be scored."""
    server = await serve(answer({"message": words.format(8192, 8192)}, 400))
    with pytest.raises(ModelRefused, match="lower max_tokens"):
        await ask(server.base_url)
    server = await serve(answer({"message": words.format(8191, 8191)}, 400))
    with pytest.raises(ContextLengthExceeded):
        await ask(server.base_url)


async def test_a_hung_endpoint_ends_in_model_error_and_holds_up_nobody_else(serve: Any) -> None:
    hung, well = await serve(hang), await serve(answer(OK))
    waiting = asyncio.create_task(ask(hung.base_url, timeouts=Timeouts(total=600)))
    replies = [await ask(well.base_url) for _ in range(5)]
    assert [r.content for r in replies] == ["hello"] * 5
    assert not waiting.done()
    waiting.cancel()
    before = len(hung.seen)
    with pytest.raises(ModelError, match=r"no answer in 0.5 s \(gave up after 2 attempts\)"):
        await ask(hung.base_url, timeouts=Timeouts(total=0.5))
    assert len(hung.seen) - before == 2


async def test_nobody_listening_is_a_model_error() -> None:
    with pytest.raises(ModelError, match="gave up after 3 attempts"):
        await ask(f"http://127.0.0.1:{free_port()}/v1")


async def test_the_rollouts_clock_ends_a_call_that_outlasts_it(serve: Any) -> None:
    server = await serve(hang)
    conversation = history()
    conversation.seconds_left = 0.5
    with pytest.raises(TimeExceeded):
        await ask(server.base_url, conversation)
    assert len(server.seen) == 1


@pytest.mark.parametrize("base_url", ["localhost:8000/v1", "ftp://host/v1", "", "http://"])
def test_a_base_url_that_is_none_is_named(base_url: str) -> None:
    with pytest.raises(ModelError, match="no http"):
        ChatClient(base_url, "m")


@pytest.mark.parametrize("field", ["messages", "stream", "n"])
async def test_sampling_may_not_replace_what_the_rollout_sends(serve: Any, field: str) -> None:
    server = await serve(answer(OK))
    with pytest.raises(ModelError, match=f"sampling may not set {field}"):
        await ask(server.base_url, sampling={field: 1})
    assert server.seen == []


async def test_an_extra_body_that_is_none_is_none_and_one_that_is_no_object_is_named(serve: Any) -> None:
    server = await serve(answer(OK))
    assert (await ask(server.base_url, sampling={"extra_body": None})).content == "hello"
    assert "extra_body" not in server.seen[0][1]
    with pytest.raises(ModelRefused, match=r"sampling\.extra_body is a JSON object, not str"):
        await ask(server.base_url, sampling={"extra_body": "top_k=4"})


async def test_a_key_that_no_header_can_carry_is_refused_unsaid(serve: Any) -> None:
    server = await serve(answer(OK))
    with pytest.raises(ModelError, match=f"the API key of {server.base_url} holds characters") as e:
        await ask(server.base_url, api_key="sk-1\r\nX-Other: 2")
    assert "sk-1" not in str(e.value)
    assert server.seen == []


async def test_the_engines_figures_stand_beside_its_v1(serve: Any) -> None:
    async def page(request: web.Request) -> web.Response:
        return web.Response(text=f"figures for {request.headers.get('Authorization')}")

    server = await serve(answer(OK), routes={"/metrics": page})
    async with ChatClient(server.base_url, "m", api_key="k") as client:
        assert await client.metrics(5) == "figures for Bearer k"
    async with ChatClient(server.base_url + "/v2", "m") as client:
        assert await client.metrics(5) is None
