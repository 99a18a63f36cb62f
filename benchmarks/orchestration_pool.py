"""Where a pool sends calls: how often a rollout stays where its prefix cache is, and what one slow endpoint costs.

Endpoints in processes of their own, 16 slots each, a call takes 0.2 to 0.6 s; 64 rollouts of 20 turns. The slow one
takes five times as long. Static assignment, each rollout on one endpoint for good, is run beside it to show what is
to be avoided.
"""

import asyncio
import itertools
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from benchmarks.orchestration_turn import endpoint
from benchmarks.run import row
from rollout.member import Endpoint
from rollout.model import Conversation, Model
from rollout.pool import Pool
from rollout.trajectory import Message
from rollout.transport import Transport

ROLLOUTS, TURNS, SLOTS, SECONDS, SLOWER = 64, 20, 16, 0.4, 5


async def rollout(model: Model, key: str) -> list[str]:
    """The endpoints that served its turns."""
    conversation, served = Conversation(key=key), []
    for turn in range(TURNS):
        conversation.append(Message(role="user", content=f"Turn {turn}"))
        served.append((await model.complete(conversation, {})).endpoint)
    return served


async def batch(ports: Sequence[int], static: bool = False) -> tuple[float, float]:
    """Wall seconds, and the share of turns that went where the turn before had gone."""
    endpoints = [Endpoint(f"http://127.0.0.1:{port}/v1", slots=SLOTS) for port in ports]
    async with Transport() as http:
        pools = [Pool("m", [e], http=http) for e in endpoints] if static else [Pool("m", endpoints, http=http)]
        began = time.perf_counter()
        served = await asyncio.gather(*(rollout(pools[i % len(pools)], f"r{i}") for i in range(ROLLOUTS)))
        seconds = time.perf_counter() - began
        for pool in pools:
            await pool.close()
    stayed = [a == b for urls in served for a, b in itertools.pairwise(urls)]
    return seconds, sum(stayed) / len(stayed)


def run() -> list[dict[str, Any]]:
    with ExitStack() as stack:
        healthy = [stack.enter_context(endpoint(SECONDS)) for _ in range(4)]
        slow = stack.enter_context(endpoint(SECONDS * SLOWER))
        _, sticky = asyncio.run(batch(healthy))
        three, _ = asyncio.run(batch(healthy[:3]))
        with_slow, _ = asyncio.run(batch([*healthy[:3], slow]))
        static, _ = asyncio.run(batch([*healthy[:3], slow], static=True))
    return [
        row("orchestration/pool_stays", sticky, 1.0, "share of turns", ">=0.95"),
        row("orchestration/pool_one_slow_of_four", with_slow, three, "s", "<=1.1"),
        row("orchestration/static_one_slow_of_four", static, three, "s", ">=1.1"),
    ]
