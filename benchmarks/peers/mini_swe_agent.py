"""The same rollouts in mini-swe-agent, with its model that talks plain HTTP; run by the python of its own environment.

Threads, as its batch runner has them; each trajectory is saved once, at its end.
"""

# ruff: noqa: ARG002

import json
import os
import resource
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

os.environ["MSWEA_SILENT_STARTUP"] = "1"
os.environ["MSWEA_GLOBAL_CONFIG_DIR"] = tempfile.mkdtemp(prefix="mini-swe-agent-")  # it would make one at home

from minisweagent.agents.default import DefaultAgent
from minisweagent.models.openrouter_model import OpenRouterModel

ROLLOUTS = 64


class Pages:
    """Its environment: each command shows `size` bytes that nobody has seen before."""

    def __init__(self, size: int) -> None:
        self.size, self.count = size, 0

    def execute(self, action: dict[str, Any], cwd: str = "") -> dict[str, Any]:
        self.count += 1
        line = f'{self.count:08d} the quick brown fox said "hello" to the lazy dog.\n'
        return {"output": line * (self.size // len(line)), "returncode": 0, "exception_info": ""}

    def get_template_vars(self, **kwargs: Any) -> dict[str, Any]:
        return {}

    def serialize(self) -> dict[str, Any]:
        return {}


def rollout(port: int, turns: int, size: int, folder: Path, number: int) -> int:
    model = OpenRouterModel(model_name="m", cost_tracking="ignore_errors", model_kwargs={"temperature": 1.0})
    model._api_url = f"http://127.0.0.1:{port}/v1/chat/completions"
    templates = {"system_template": "You read pages.", "instance_template": "{{task}}"}
    agent = DefaultAgent(model, Pages(size), step_limit=turns, cost_limit=0, **templates)
    agent.run("What is on the last page?")
    agent.save(folder / f"{number}.json")
    return agent.n_calls


def batch(port: int, turns: int, size: int) -> float:
    """CPU seconds of this process and its children."""
    before = spent()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(ROLLOUTS) as threads:
        done = list(threads.map(lambda i: rollout(port, turns, size, Path(folder), i), range(ROLLOUTS)))
    if done != [turns] * ROLLOUTS:
        raise SystemExit(f"not every rollout took {turns} turns: {done}")
    return spent() - before


def spent() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


if __name__ == "__main__":
    port, turns, size = map(int, sys.argv[1:])
    batch(port, 3, size)
    print(json.dumps({"cpu": batch(port, turns, size)}))
