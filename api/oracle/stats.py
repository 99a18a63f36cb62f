"""What went by: counted by task and by conversation, for tests and for /stats and /metrics.

Kept for the newest `MOST` conversations; how many were forgotten is counted too.
"""

from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import Any

MOST = 200_000


@dataclass
class Talk:
    """One conversation. `answered[turn]` counts how often a turn was completed: above 1, it was paid twice."""

    task: str
    requests: int = 0
    tries: Counter[int] = field(default_factory=Counter)
    answered: Counter[int] = field(default_factory=Counter)
    tokens: int = 0
    """Prompt and completion tokens of the newest answer: what a prefix cache would hold."""

    def view(self) -> dict[str, Any]:
        completions = self.answered.total()
        return {
            "task": self.task,
            "requests": self.requests,
            "completions": completions,
            "turns": len(self.answered),
            "repeated": completions - len(self.answered),
        }


@dataclass
class Stats:
    requests: int = 0
    completions: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    """Requests that got no completion, by reason: a fault's name or an HTTP status."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    running: int = 0
    waiting: int = 0
    running_tokens: int = 0
    forgotten: int = 0
    _talks: OrderedDict[str, Talk] = field(default_factory=OrderedDict)

    def talk(self, key: str, task: str) -> Talk:
        if key not in self._talks:
            self._talks[key] = Talk(task)
            if len(self._talks) > MOST:
                self._talks.popitem(last=False)
                self.forgotten += 1
        self._talks.move_to_end(key)
        return self._talks[key]

    def view(self) -> dict[str, Any]:
        tasks: dict[str, Counter[str]] = {}
        talks = {key: talk.view() for key, talk in self._talks.items()}
        for talk in talks.values():
            counts = tasks.setdefault(talk["task"], Counter(conversations=0))
            counts["conversations"] += 1
            for name in ("requests", "completions", "turns", "repeated"):
                counts[name] += talk[name]
        return {
            "requests": self.requests,
            "completions": self.completions,
            "refused": dict(self.refused),
            "running": self.running,
            "waiting": self.waiting,
            "forgotten": self.forgotten,
            "tasks": tasks,
            "conversations": talks,
        }

    def prometheus(self, model: str, kv_tokens: int) -> str:
        """In vLLM's metric names, so that what reads vLLM's can be tried on an oracle."""
        rows: list[tuple[str, str, float]] = [
            ("num_requests_running", "gauge", self.running),
            ("num_requests_waiting", "gauge", self.waiting),
            ("kv_cache_usage_perc", "gauge", min(1.0, self.running_tokens / kv_tokens)),
            ("prompt_tokens_total", "counter", self.prompt_tokens),
            ("generation_tokens_total", "counter", self.completion_tokens),
            ("request_success_total", "counter", self.completions),
        ]
        out = []
        for name, kind, value in rows:
            out.append(f"# TYPE vllm:{name} {kind}")
            out.append(f'vllm:{name}{{model_name="{model}"}} {float(value)}')
        return "\n".join(out) + "\n"
