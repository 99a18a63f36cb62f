"""A pool against real HTTP servers: who serves whom, and what a bad endpoint costs the others."""

import asyncio
import itertools
import time
from dataclasses import dataclass, replace
from typing import Any

import orjson
import pytest
from aiohttp import web

from rollout.balance import Breaker
from rollout.client import Timeouts
from rollout.member import Endpoint
from rollout.model import ContextLengthExceeded, Conversation, ModelError, Reply, TimeExceeded
from rollout.pool import Policy, Pool
from rollout.retry import Backoff
from rollout.trajectory import Message
from rollout.transport import Transport

BACKOFF = Backoff(attempts=4, base=0.01, cap=0.02)
POLICY = Policy(patience=60, cold=60, poll=0.05, breaker=Breaker(threshold=2, cooldown=0.2))
"""Patient beside what a machine that stands still for a while takes: no test means to see that end."""


def answering(content: str = "hi", after: float = 0.0) -> Any:
    async def handler(_: web.Request) -> web.Response:
        await asyncio.sleep(after)
        return web.json_response({"choices": [{"message": {"content": content}}], "usage": {"completion_tokens": 2}})

    return handler


def held(content: str, until: asyncio.Event | None = None) -> Any:
    """It answers when the test says so, or never."""

    async def handler(_: web.Request) -> web.Response:
        await (until or asyncio.Event()).wait()
        return web.json_response({"choices": [{"message": {"content": content}}]})

    return handler


hang = held("")


def broken_off(when: asyncio.Event) -> Any:
    async def handler(request: web.Request) -> web.Response:
        await when.wait()
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    return handler


def refusing(status: int, **headers: str) -> Any:
    async def handler(_: web.Request) -> web.Response:
        return web.json_response({"error": {"message": "no"}}, status=status, headers=headers)

    return handler


async def asked(server: Any, times: int) -> None:
    async with asyncio.timeout(60):
        while len(server.seen) < times:  # noqa: ASYNC110 - the server knows nothing of this
            await asyncio.sleep(0.01)


def talk(key: str = "r") -> Conversation:
    conversation = Conversation(key=key)
    conversation.append(Message(role="user", content=key))
    return conversation


def pool_of(http: Transport, *servers: Any, policy: Policy = POLICY, slots: int = 4, **options: Any) -> Pool:
    options = {"timeouts": Timeouts(connect=60, total=600), "backoff": BACKOFF, **options}
    return Pool("m", [Endpoint(s.base_url, slots=slots) for s in servers], http=http, policy=policy, **options)


@dataclass
class Lateness:
    """How late, at most, this loop came to what was due: calls look slow to it that were not."""

    most: float = 0.0

    async def __aenter__(self) -> "Lateness":
        self._watching = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._watching.cancel()
        await asyncio.wait([self._watching])

    async def _watch(self) -> None:
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.002)
            self.most = max(self.most, time.monotonic() - began - 0.002)


async def test_turns_of_a_rollout_stay_on_one_endpoint(serve: Any) -> None:
    async def rollout(pool: Pool, key: str) -> list[str]:
        conversation = talk(key)
        return [(await pool.complete(conversation, {})).endpoint for _ in range(10)]

    async with asyncio.timeout(300):
        while True:
            servers = [await serve(answering(after=0.03)) for _ in range(3)]
            async with Transport() as http, pool_of(http, *servers) as pool, Lateness() as late:
                served = await asyncio.gather(*(rollout(pool, f"r{i}") for i in range(12)))
            moves = sum(a != b for urls in served for a, b in itertools.pairwise(urls))
            seen = [len(s.seen) for s in servers]
            if (moves <= 5 and max(seen) <= 50) or late.most < 0.01:  # a machine that stood still proves nothing
                break
    assert moves <= 5, "of 108 steps from turn to turn"
    assert seen == pytest.approx([40] * 3, abs=10)


async def test_no_endpoint_has_more_calls_in_flight_than_its_slots(serve: Any) -> None:
    now = most = 0

    async def counting(_: web.Request) -> web.Response:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.1)
        now -= 1
        return web.json_response({"choices": [{"message": {"content": "x"}}]})

    async def timed(pool: Pool, key: str) -> tuple[Reply, float]:
        began = time.monotonic()
        return await pool.complete(talk(key), {}), time.monotonic() - began

    server = await serve(counting)
    async with Transport() as http, pool_of(http, server, slots=3) as pool:
        replies = await asyncio.gather(*(timed(pool, str(i)) for i in range(20)))
    assert most == 3
    assert sorted(r.waited > 0.05 for r, _ in replies) == [False] * 3 + [True] * 17
    assert [r for r, whole in replies if r.waited + r.seconds > whole] == [], "a wait is no part of a call's time"


async def test_a_dead_endpoint_costs_its_rollouts_a_retry_and_nothing_more(serve: Any) -> None:
    dead, well = await serve(refusing(500)), await serve(answering("well"))
    async with Transport() as http, pool_of(http, dead, well) as pool:
        replies = [await pool.complete(talk(str(i)), {}) for i in range(10)]
        states = {s.url: s.state for s in pool.status()}
    assert [r.content for r in replies] == ["well"] * 10
    assert len(dead.seen) <= 2
    assert states[well.base_url] == "well"


async def test_an_endpoint_whose_host_no_name_can_be_costs_its_rollouts_a_retry_and_nothing_more(serve: Any) -> None:
    reads = 0

    async def figures(_: web.Request) -> web.Response:
        nonlocal reads
        reads += 1
        return web.Response(text="")

    well = await serve(answering("well"), routes={"/metrics": figures})
    async with Transport() as http, pool_of(http, well) as pool:
        pool.add(Endpoint("http://model..example/v1"))
        replies = [await pool.complete(talk(str(i)), {}) for i in range(10)]
        looked = reads
        async with asyncio.timeout(60):
            while reads < looked + 3:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    assert [r.content for r in replies] == ["well"] * 10


async def test_an_endpoint_that_recovers_is_used_again(serve: Any) -> None:
    server = await serve(refusing(500), refusing(500), answering("back"))
    async with Transport() as http, pool_of(http, server) as pool:
        assert (await pool.complete(talk(), {})).content == "back"
        assert [(s.state, s.requests, s.failures) for s in pool.status()] == [("well", 3, 2)]


async def test_a_hung_endpoint_holds_up_nobody_else(serve: Any) -> None:
    hung, well = await serve(hang), await serve(answering("well"))
    often = replace(
        BACKOFF, timeout_attempts=99
    )  # where the machine stands still for half a second, the other is late too
    async with Transport() as http, pool_of(http, hung, well, timeouts=Timeouts(total=0.5), backoff=often) as pool:
        stuck = talk("stuck")
        stuck.home = hung.base_url
        waiting = asyncio.create_task(pool.complete(stuck, {}))
        others = [await pool.complete(talk(str(i)), {}) for i in range(20)]
        assert {r.content for r in others if r.endpoint == well.base_url} == {"well"}
        assert (await waiting).endpoint == well.base_url


async def test_a_hung_endpoint_is_left_though_each_rollouts_clock_ends_before_the_calls(serve: Any) -> None:
    hung, well = await serve(hang), await serve(answering("well", after=0.02))
    policy = replace(POLICY, breaker=Breaker(threshold=2, cooldown=600))

    async def timed(pool: Pool, key: str, seconds: float, home: str | None = None) -> str | None:
        conversation = talk(key)
        conversation.seconds_left, conversation.home = seconds, home
        try:
            return (await pool.complete(conversation, {})).content
        except TimeExceeded:
            return "timeout"

    async with Transport() as http, pool_of(http, hung, well, policy=policy, slots=8) as pool:
        cut: list[str | None] = []
        async with asyncio.timeout(120):  # once, but where the machine stood still and so every call took long
            while pool.status()[0].state == "well":
                await asyncio.gather(*(timed(pool, f"w{j}", 600, well.base_url) for j in range(8)))
                cut += await asyncio.gather(*(timed(pool, f"h{j}", 0.5, hung.base_url) for j in range(2)))
        later = await asyncio.gather(*(timed(pool, str(j), 60) for j in range(24)))
        states = [s.state for s in pool.status()]
    assert "timeout" in cut
    assert (later, states) == (["well"] * 24, ["failing", "well"])


async def test_no_endpoint_well_ends_in_model_error_after_patience(serve: Any) -> None:
    server = await serve(refusing(500))
    policy = Policy(patience=0.2, poll=9, breaker=Breaker(threshold=1, cooldown=30))
    async with Transport() as http, pool_of(http, server, policy=policy) as pool:
        with pytest.raises(ModelError, match=r"no endpoint of m was well for 0.2 s .*answered 500: no"):
            await pool.complete(talk(), {})
        assert [s.state for s in pool.status()] == ["failing"]
        assert pool.stranded == 0


DEAD = "http://127.0.0.1:9/v1"


async def test_a_dead_endpoint_that_never_answered_is_given_up_quickly() -> None:
    """Not tried for minutes: perhaps its address is wrong."""
    policy = Policy(cold=0.3, patience=60, breaker=Breaker(threshold=2, cooldown=0.1))
    heard: list[str] = []
    async with Transport() as http, Pool("m", [Endpoint(DEAD)], http=http, policy=policy, backoff=BACKOFF) as pool:
        for _ in range(2):
            async with asyncio.timeout(50):
                with pytest.raises(ModelError, match=rf"no endpoint of m answers \({DEAD}: .*\); start it, or name"):
                    await pool.complete(talk(), {}, lambda url, _: heard.append(url))
    assert 2 <= len(heard) <= 10
    assert set(heard) == {DEAD}


async def test_a_web_page_in_the_place_of_a_model_is_given_up_as_quickly(serve: Any) -> None:
    async def page(_: web.Request) -> web.Response:
        return web.Response(text="<html>welcome</html>", content_type="text/html")

    server = await serve(page)
    policy = Policy(cold=0.3, patience=60, breaker=Breaker(threshold=2, cooldown=30))
    async with Transport() as http, pool_of(http, server, policy=policy) as pool, asyncio.timeout(50):
        with pytest.raises(
            ModelError, match=r"no endpoint of m answers \(.* bytes that are not JSON\); start it, or name"
        ):
            await pool.complete(talk(), {})


async def test_an_endpoint_that_answered_before_is_waited_for_while_it_restarts(serve: Any) -> None:
    server = await serve(answering(), refusing(503), refusing(503), refusing(503), answering("back"))
    policy = Policy(cold=0.01, patience=60, breaker=Breaker(threshold=2, cooldown=0.1))
    async with Transport() as http, pool_of(http, server, policy=policy, backoff=Backoff(base=0.01)) as pool:
        assert [(await pool.complete(talk(), {})).content for _ in range(2)] == ["hi", "back"]


async def test_a_dead_endpoint_beside_a_slow_one_that_has_not_answered_yet_costs_nothing(serve: Any) -> None:
    slow = await serve(answering("slow", after=0.5))
    policy = Policy(cold=0.05, patience=60, breaker=Breaker(threshold=1, cooldown=30))
    endpoints = [Endpoint(DEAD), Endpoint(slow.base_url)]
    async with Transport() as http, Pool("m", endpoints, http=http, policy=policy, backoff=BACKOFF) as pool:
        calls = (pool.complete(talk(str(i)), {}) for i in range(6))
        assert {reply.content for reply in await asyncio.gather(*calls)} == {"slow"}


async def test_a_lone_hung_endpoint_ends_in_model_error(serve: Any) -> None:
    server = await serve(hang)
    async with Transport() as http, pool_of(http, server, timeouts=Timeouts(total=0.1)) as pool:
        with pytest.raises(ModelError, match=r"no answer in 0.1 s"):
            await pool.complete(talk(), {})


async def test_a_429_goes_to_another_endpoint_without_waiting_for_retry_after(serve: Any) -> None:
    busy, free = await serve(refusing(429, **{"Retry-After": "60"})), await serve(answering("free"))
    async with Transport() as http, pool_of(http, busy, free) as pool:
        conversation = talk()
        conversation.home = busy.base_url
        reply = await pool.complete(conversation, {})
        assert (reply.content, reply.attempts) == ("free", 2)
        assert {s.url: s.state for s in pool.status()} == {busy.base_url: "resting", free.base_url: "well"}
        again = [await pool.complete(talk(str(i)), {}) for i in range(5)]
    assert {r.endpoint for r in again} == {free.base_url}
    assert len(busy.seen) == 1


async def test_a_429_lowers_the_bound_once_for_all_calls_that_were_out(serve: Any) -> None:
    server = await serve(*[refusing(429)] * 8, answering())
    async with Transport() as http, pool_of(http, server, slots=8) as pool:
        await asyncio.gather(*(pool.complete(talk(str(i)), {}) for i in range(8)))
        assert 6 <= pool.status()[0].slots <= 8


async def test_other_refusals_and_long_prompts_pass_through(serve: Any) -> None:
    too_long = web.json_response({"error": {"message": "maximum context length is 8"}}, status=400)

    async def long(_: web.Request) -> web.Response:
        return too_long

    server = await serve(refusing(401), long)
    async with Transport() as http, pool_of(http, server) as pool:
        with pytest.raises(ModelError, match="answered 401: no"):
            await pool.complete(talk(), {})
        with pytest.raises(ContextLengthExceeded):
            await pool.complete(talk(), {})
        assert pool.status()[0].state == "well"
        assert pool.status()[0].in_flight == 0


async def test_an_endpoint_added_while_calls_wait_takes_them(serve: Any) -> None:
    others_are_done = asyncio.Event()
    slow, late = await serve(held("slow", others_are_done)), await serve(answering("late"))
    async with Transport() as http, pool_of(http, slow, slots=1, timeouts=Timeouts(total=60)) as pool:
        calls = [asyncio.create_task(pool.complete(talk(str(i)), {})) for i in range(6)]
        await asked(slow, 1)
        pool.add(Endpoint(late.base_url))
        replies = [await call for call in calls[1:]]
        others_are_done.set()
        replies.append(await calls[0])
    assert [r.content for r in replies] == ["late"] * 5 + ["slow"]


async def test_removing_an_endpoint_moves_only_its_own_rollouts(serve: Any) -> None:
    servers = [await serve(answering()) for _ in range(3)]
    stays = Policy(shed=1e6)  # none goes to another because its own was slow for a moment
    async with Transport() as http, pool_of(http, *servers, policy=stays) as pool:
        talks = [talk(str(i)) for i in range(9)]
        await asyncio.gather(*(pool.complete(t, {}) for t in talks))
        before = [t.home for t in talks]
        pool.remove(servers[0].base_url)
        await asyncio.gather(*(pool.complete(t, {}) for t in talks))
        gone, after = servers[0].base_url, [t.home for t in talks]
        assert gone in before
        assert gone not in after
        assert [a == b for a, b in zip(before, after, strict=True)] == [b != gone for b in before]
        with pytest.raises(KeyError, match="no endpoint"):
            pool.remove(gone)


async def test_calls_in_flight_and_waiting_survive_the_removal(serve: Any) -> None:
    removed = asyncio.Event()
    old, new = await serve(held("old", removed)), await serve(answering("new"))
    async with Transport() as http, pool_of(http, old, slots=1) as pool:
        calls = [asyncio.create_task(pool.complete(talk(str(i)), {})) for i in range(3)]
        await asked(old, 1)
        pool.remove(old.base_url)
        removed.set()
        assert pool.stranded == 2
        pool.add(Endpoint(new.base_url))
        assert sorted([(await c).content or "" for c in calls]) == ["new", "new", "old"]


async def test_a_cancelled_call_gives_its_slot_back(serve: Any) -> None:
    cancelled = asyncio.Event()
    server = await serve(held("hi", cancelled))
    async with Transport() as http, pool_of(http, server, slots=1) as pool:
        calls = [asyncio.create_task(pool.complete(talk(str(i)), {})) for i in range(4)]
        await asked(server, 1)
        calls[0].cancel()
        calls[2].cancel()
        cancelled.set()
        ended = await asyncio.gather(*calls, return_exceptions=True)
        status = pool.status()[0]
    assert [type(e).__name__ for e in ended] == ["CancelledError", "Reply", "CancelledError", "Reply"]
    assert (status.in_flight, status.waiting) == (0, 0)


async def test_the_bound_follows_the_engines_own_figures(serve: Any) -> None:
    kv = 0.1

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(text=f'vllm:num_requests_running 4\nvllm:kv_cache_usage_perc{{engine="0"}} {kv}\n')

    server = await serve(answering(after=0.02), routes={"/metrics": metrics})
    policy = replace(POLICY, poll=0.2)  # and so long may a reading take
    async with Transport() as http, pool_of(http, server, policy=policy) as pool:
        stop = asyncio.Event()

        async def rollout(i: int) -> None:
            conversation = talk(str(i))
            while not stop.is_set():
                await pool.complete(conversation, {})

        rollouts = [asyncio.create_task(rollout(i)) for i in range(40)]
        while pool.status()[0].slots < 12:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        kv = 0.99
        while pool.status()[0].slots > 6:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        stop.set()
        await asyncio.gather(*rollouts)


async def test_keys_go_to_their_own_endpoint_only(serve: Any) -> None:
    servers = [await serve(answering(after=0.05)) for _ in range(2)]
    endpoints = [Endpoint(s.base_url, api_key=f"key-{i}") for i, s in enumerate(servers)]
    async with Transport() as http, Pool("m", endpoints, http=http) as pool:
        await asyncio.gather(*(pool.complete(talk(str(i)), {}) for i in range(4)))
    assert [{h["Authorization"] for h, _ in s.seen} for s in servers] == [{"Bearer key-0"}, {"Bearer key-1"}]
    assert "key-0" not in repr(endpoints) + repr(pool.status())
    assert orjson.dumps(servers[0].seen[0][1]["model"]) == b'"m"'


@pytest.mark.parametrize("after", ["86400", "Wed, 21 Oct 2099 07:28:00 GMT"])
async def test_an_absurd_retry_after_does_not_take_an_endpoint_out_for_good(serve: Any, after: str) -> None:
    server = await serve(refusing(429, **{"Retry-After": after}), answering())
    backoff = Backoff(attempts=4, base=0.01, cap=0.02, longest_after=0.1)
    async with Transport() as http, pool_of(http, server, backoff=backoff) as pool:
        assert (await pool.complete(talk(), {})).content == "hi"


async def test_a_call_that_hangs_does_not_keep_a_recovered_endpoint_from_being_tried(serve: Any) -> None:
    """As after a host that went away without a word: its connections never end, its new self answers."""
    server = await serve(hang, refusing(500), refusing(500), answering())
    async with Transport() as http, pool_of(http, server) as pool:
        hung = asyncio.create_task(pool.complete(talk("hung"), {}))
        await asked(server, 1)
        assert (await pool.complete(talk("other"), {})).content == "hi"
        hung.cancel()
        await asyncio.wait([hung])
        assert [(s.state, s.in_flight) for s in pool.status()] == [("well", 0)]


async def test_one_call_alone_tries_an_endpoint_that_failed(serve: Any) -> None:
    tried = asyncio.Event()
    server = await serve(hang, refusing(500), refusing(500), held("hi", tried), answering())
    async with Transport() as http, pool_of(http, server) as pool:
        hung = asyncio.create_task(pool.complete(talk("hung"), {}))
        await asked(server, 1)
        others = [asyncio.create_task(pool.complete(talk(f"r{i}"), {})) for i in range(2)]
        await asked(server, 4)
        more = [asyncio.create_task(pool.complete(talk(f"m{i}"), {})) for i in range(3)]
        await asyncio.sleep(0.1)
        assert len(server.seen) == 4
        tried.set()
        assert {(await one).content for one in (*others, *more)} == {"hi"}
        hung.cancel()
        await asyncio.wait([hung])


async def test_a_call_cancelled_just_as_its_endpoint_failed_does_not_shut_that_out_for_good(
    serve: Any,
) -> None:
    """Its slot came free by a failure of the very moment in which others opened the breaker."""
    now = asyncio.Event()
    server = await serve(*[broken_off(now)] * 3, hang, answering())
    async with Transport() as http, pool_of(http, server, slots=3, backoff=Backoff(attempts=1)) as pool:
        first = [asyncio.create_task(pool.complete(talk(f"r{i}"), {})) for i in range(3)]
        await asked(server, 3)
        late = asyncio.create_task(pool.complete(talk("late"), {}))
        await asyncio.sleep(0.05)
        now.set()
        await asyncio.gather(*first, return_exceptions=True)
        await asked(server, 4)
        late.cancel()
        await asyncio.wait([late])
        assert (await pool.complete(talk("next"), {})).content == "hi"
