"""The oracle's HTTP: what it answers, what it refuses, what it counts."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from api.oracle import Faults, Known, Library, OracleSettings, parse_recording, running_oracle
from envs.task import Reference, Task

QUESTION = "Which sea does the river Aldra, rising near Mount Sel, flow into?"
KNOWN = Known(
    Task(id="aldra", environment="search", question=QUESTION, world={"corpus": "rivers"}),
    Reference(data={"answers": ["Sea of Marn"], "gold_docs": ["a", "m"]}),
)
SQL = Known(
    Task(id="count", environment="sql", question="How many vessels are there?", world={"database": "ferries"}),
    Reference(data={"gold_sql": "SELECT count(*) FROM vessels", "rows": [[7]]}),
)
TOOLS = [{"type": "function", "function": {"name": name, "parameters": {}}} for name in ("search", "visit")]
ASK: dict[str, Any] = {"model": "oracle", "messages": [{"role": "user", "content": QUESTION}], "tools": TOOLS}
TEACH = {
    "model": "oracle",
    "messages": [{"role": "user", "content": f"Read these.\n\nQuestion: {QUESTION}\n\n[1] ..."}],
}


@asynccontextmanager
async def oracle(settings: OracleSettings | None = None, **more: Any) -> AsyncIterator[httpx.AsyncClient]:
    library = Library([KNOWN, SQL], prompts=lambda task: task.question)
    async with (
        running_oracle(settings or OracleSettings(), library, **more) as url,
        httpx.AsyncClient(base_url=url.removesuffix("/v1"), timeout=120) as client,
    ):
        yield client


async def chat(client: httpx.AsyncClient, body: dict[str, Any] = ASK, **changes: Any) -> httpx.Response:
    return await client.post("/v1/chat/completions", json={**body, **changes})


async def test_a_completion_is_a_native_tool_call_with_usage() -> None:
    async with oracle() as client:
        body = (await chat(client)).json()
    (choice,) = body["choices"]
    (call,) = choice["message"].pop("tool_calls")
    assert choice == {
        "index": 0,
        "message": {"role": "assistant", "content": None},
        "finish_reason": "tool_calls",
        "logprobs": None,
    }
    assert call["function"] == {"name": "search", "arguments": f'{{"query":"{QUESTION}","top_k":10}}'}
    usage = body["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["completion_tokens"] == len("search" + call["function"]["arguments"]) // 4


async def test_the_same_request_gives_the_same_message() -> None:
    async with oracle() as client:
        first, again = (await chat(client)).json(), (await chat(client)).json()
    assert first["choices"] == again["choices"]


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({"stream": True}, 400, "`stream: true` is not supported here; ask without it"),
        ({"messages": [{"role": "system", "content": "x"}]}, 400, "there is no user message, so no task to find"),
        ({"messages": "hello"}, 400, "`messages` must be a list of objects"),
        ({"n": 0.5}, 400, "`n` must be a number from 1 to 128"),
        ({"model": "gpt"}, 404, "The model `gpt` does not exist; this is `oracle`."),
        ({"tools": TOOLS[1:]}, 400, "the request offers no tool 'search'"),
        (
            {"messages": [{"role": "user", "content": "Who?"}]},
            404,
            "no task begins with the message 'Who?'; 2 tasks are loaded: start the oracle with the task file that "
            "this one is from",
        ),
    ],
)
async def test_what_it_cannot_answer_is_refused_in_words(changes: dict[str, Any], status: int, words: str) -> None:
    async with oracle() as client:
        response = await chat(client, **changes)
    assert (response.status_code, response.json()["error"]["message"]) == (status, words)


async def test_a_body_that_is_no_json_is_refused() -> None:
    async with oracle() as client:
        response = await client.post("/v1/chat/completions", content=b'{"model":')
    assert (response.status_code, response.json()["error"]["message"][:20]) == (400, "the body is not JSON")


async def test_a_prompt_that_is_too_long_is_refused_as_vllm_does() -> None:
    async with oracle(OracleSettings(context_length=20)) as client:
        response = await chat(client)
    assert response.status_code == 400
    assert response.json()["error"]["message"].startswith("This model's maximum context length is 20 tokens.")


async def test_a_429_names_when_to_come_back() -> None:
    async with oracle(OracleSettings(faults=Faults(rate_limited=1.0), retry_after=3)) as client:
        response = await chat(client)
    assert (response.status_code, response.headers["retry-after"]) == (429, "3")


async def test_a_fault_of_one_request_in_two_is_drawn_anew_at_each_try() -> None:
    async with oracle(OracleSettings(faults=Faults(server_error=0.5))) as client:
        statuses = [(await chat(client)).status_code for _ in range(40)]
        counted = (await client.get("/stats")).json()
    assert set(statuses) == {200, 500}
    assert counted["refused"] == {"500": statuses.count(500)}
    assert counted["completions"] == statuses.count(200)


async def test_a_reset_is_a_reset() -> None:
    async with oracle(OracleSettings(faults=Faults(reset=1.0))) as client:
        with pytest.raises(httpx.ReadError):
            await chat(client)
        assert (await client.get("/stats")).json()["refused"] == {"reset": 1}


async def test_a_hanging_request_gets_no_answer_and_does_not_hold_up_the_shutdown() -> None:
    async with oracle(OracleSettings(faults=Faults(hang=1.0))) as client:
        asking = asyncio.create_task(chat(client))
        await counted_until(client, lambda counted: bool(counted["refused"]))
        assert not asking.done()
    with pytest.raises(httpx.HTTPError):
        await asking


async def test_malformed_arguments_are_cut_json_a_list_or_a_wrong_key() -> None:
    async with oracle(OracleSettings(faults=Faults(malformed=1.0))) as client:
        sent = {arguments((await chat(client, seed=seed)).json()) for seed in range(30)}
    whole = f'{{"query":"{QUESTION}","top_k":10}}'
    assert sent == {whole[: len(whole) // 2], "[]", '{"argument_that_does_not_exist":1}'}


async def test_unparsed_tool_calls_stand_in_the_content() -> None:
    async with oracle(OracleSettings(faults=Faults(unparsed=1.0))) as client:
        (choice,) = (await chat(client)).json()["choices"]
    assert (choice["finish_reason"], choice["message"]) == (
        "stop",
        {
            "role": "assistant",
            "content": '<tool_call>\n{"name": "search", "arguments": {"query":"'
            + QUESTION
            + '","top_k":10}}\n</tool_call>',
        },
    )


async def test_thoughts_are_told_in_the_form_that_was_asked_for() -> None:
    async with oracle(OracleSettings(reasoning="field")) as client:
        field = (await chat(client)).json()["choices"][0]["message"]
    async with oracle(OracleSettings(reasoning="think")) as client:
        think = (await chat(client)).json()["choices"][0]["message"]
    assert (field["content"], field["reasoning"]) == (None, f"I look for {QUESTION}.")
    assert (think["content"], "reasoning" in think) == (f"<think>\nI look for {QUESTION}.\n</think>\n\n", False)


async def test_a_reply_over_max_tokens_is_cut() -> None:
    async with oracle() as client:
        (choice,) = (await chat(client, max_tokens=4)).json()["choices"]
    assert choice["finish_reason"] == "length"
    assert choice["message"] == {"role": "assistant", "content": '<tool_call>\n{"na'}


async def test_the_teacher_answers_a_compiled_prompt() -> None:
    async with oracle() as client:
        (choice,) = (await chat(client, TEACH)).json()["choices"]
    assert (choice["finish_reason"], choice["message"]["content"]) == ("stop", "Sea of Marn")


async def test_the_teacher_gives_rows_as_json() -> None:
    prompt = {**TEACH, "messages": [{"role": "user", "content": "Question: How many vessels are there?\n\nTables"}]}
    async with oracle() as client:
        (choice,) = (await chat(client, prompt)).json()["choices"]
    assert choice["message"]["content"] == "[[7]]"


@pytest.mark.parametrize(
    ("evidence", "answer"),
    [
        ("The Aldra rises near Mount Sel. It ends in the Sea of Marn.", "Sea of Marn"),
        ("The Aldra rises near Mount Sel.", "unknown"),
        ("There is the Sea of Marn.", "unknown"),
    ],
)
async def test_a_teacher_that_reads_answers_from_the_evidence_alone(evidence: str, answer: str) -> None:
    prompt = {**TEACH, "messages": [{"role": "user", "content": f"Question: {QUESTION}\n\n{evidence}"}]}
    async with oracle(OracleSettings(teacher_reads=True)) as client:
        (choice,) = (await chat(client, prompt)).json()["choices"]
    assert choice["message"]["content"] == answer


@pytest.mark.parametrize(("tables", "answer"), [("# vessels\n...", "[[7]]"), ("# ports\n...", "unknown")])
async def test_a_teacher_that_reads_needs_the_tables(tables: str, answer: str) -> None:
    prompt = {**TEACH, "messages": [{"role": "user", "content": f"Question: {SQL.task.question}\n\n{tables}"}]}
    async with oracle(OracleSettings(teacher_reads=True)) as client:
        (choice,) = (await chat(client, prompt)).json()["choices"]
    assert choice["message"]["content"] == answer


async def test_the_share_of_wrong_answers_is_drawn_by_sample() -> None:
    async with oracle(OracleSettings(wrong=0.5)) as client:
        body = (await chat(client, TEACH, n=64)).json()
        again = (await chat(client, TEACH, n=64)).json()
    answers = [choice["message"]["content"] for choice in body["choices"]]
    assert 16 < answers.count("Sea of Marn") < 48
    assert body["choices"] == again["choices"]


async def test_a_recording_is_played_in_order_and_then_ends() -> None:
    recording = parse_recording(
        {"task": "aldra", "actions": [{"name": "search", "arguments": {"query": "x"}}, {"content": "Answer: y"}]}
    )
    said: list[dict[str, Any]] = list(ASK["messages"])
    async with oracle(recordings=[recording]) as client:
        for _ in range(3):
            said = [*said, (await chat(client, messages=said)).json()["choices"][0]["message"]]
    assert said[1]["tool_calls"][0]["function"] == {"name": "search", "arguments": '{"query":"x"}'}
    assert [message["content"] for message in said[2:]] == ["Answer: y", "I have nothing more to do."]


async def test_what_went_by_is_counted_by_task_and_conversation() -> None:
    async with oracle() as client:
        await asyncio.gather(chat(client, seed=1), chat(client, seed=1), chat(client, seed=2))
        counted = (await client.get("/stats")).json()
    assert counted["tasks"] == {
        "aldra": {"conversations": 2, "requests": 3, "completions": 3, "turns": 2, "repeated": 1}
    }


async def test_requests_beyond_the_slots_wait_and_the_metrics_say_so() -> None:
    async with oracle(OracleSettings(slots=2, latency=60)) as client:
        asking = [asyncio.create_task(chat(client, seed=seed)) for seed in range(5)]
        counted = await counted_until(client, lambda counted: counted["running"] + counted["waiting"] == 5)
        metrics = (await client.get("/metrics")).text
        for one in asking:
            one.cancel()
    assert (counted["running"], counted["waiting"], counted["requests"]) == (2, 3, 5)
    assert 'vllm:num_requests_running{model_name="oracle"} 2.0' in metrics
    assert 'vllm:num_requests_waiting{model_name="oracle"} 3.0' in metrics


async def test_it_names_its_model_and_its_health() -> None:
    async with oracle() as client:
        models = (await client.get("/v1/models")).json()
        health = (await client.get("/health")).status_code
    assert ([model["id"] for model in models["data"]], health) == (["oracle"], 200)


async def counted_until(client: httpx.AsyncClient, met: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    async with asyncio.timeout(120):
        while not met(counted := (await client.get("/stats")).json()):  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)
    return dict(counted)


def arguments(body: dict[str, Any]) -> str:
    text = body["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"]
    assert isinstance(text, str)
    return text
