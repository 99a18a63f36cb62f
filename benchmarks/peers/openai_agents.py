"""The same rollouts in openai-agents, with its chat completions model; run by the python of its own environment.

One event loop; tracing, which would send elsewhere, is off.
"""

import asyncio
import json
import resource
import sys
import time

from agents import Agent, MaxTurnsExceeded, ModelSettings, Runner, function_tool, set_tracing_disabled
from agents.models.openai_chatcompletions import OpenAIChatCompletionsModel
from openai import AsyncOpenAI

ROLLOUTS = 64


async def rollout(model: OpenAIChatCompletionsModel, turns: int, size: int) -> int:
    count = 0

    @function_tool
    def look(page: int) -> str:  # noqa: ARG001
        """Look at a page"""
        nonlocal count
        count += 1
        line = f'{count:08d} the quick brown fox said "hello" to the lazy dog.\n'
        return line * (size // len(line))

    settings = ModelSettings(temperature=1.0, max_tokens=1024)
    agent = Agent(name="pages", instructions="You read pages.", model=model, tools=[look], model_settings=settings)
    try:
        await Runner.run(agent, "What is on the last page?", max_turns=turns)
    except MaxTurnsExceeded:
        return count
    raise SystemExit("the model does not stop by itself")


async def batch(port: int, turns: int, size: int) -> float:
    """CPU seconds of this process and its children."""
    client = AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none")
    model = OpenAIChatCompletionsModel("m", client)
    before = spent()
    done = await asyncio.gather(*(rollout(model, turns, size) for _ in range(ROLLOUTS)))
    if done != [turns] * ROLLOUTS:
        raise SystemExit(f"not every rollout took {turns} turns: {done}")
    return spent() - before


def spent() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


async def main(port: int, turns: int, size: int) -> None:
    set_tracing_disabled(True)
    await batch(port, 3, size)
    print(json.dumps({"cpu": await batch(port, turns, size)}))


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:])))
