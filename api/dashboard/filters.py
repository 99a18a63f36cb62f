"""How values look on a page: numbers, times, bars, cut texts."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from api.numbers import duration as in_units
from api.numbers import thousands
from envs.errors import FailureClass
from rollout.accounts import Accounts
from rollout.runs import Run

MEANINGS: Mapping[FailureClass, str] = {
    "model_error": "The model endpoint failed for good: look at the endpoint, then retry.",
    "sandbox_error": "The container or process under the environment broke: look at the Docker engine, then retry.",
    "environment_error": "Our environment broke while it worked: a fault of trajc or of its data.",
    "task_error": "The task is wrong: mend the task and queue it again.",
    "worker_lost": "The worker vanished again and again: the rollout may be what kills it.",
}


@dataclass(frozen=True)
class Part:
    state: str
    start: int
    count: int


def parts(accounts: Accounts) -> Sequence[Part]:
    """The stretches of the bar, in rollouts from its left end."""
    counts = {
        "succeeded": accounts.succeeded,
        "failed": accounts.failures,
        "cancelled": accounts.cancelled,
        "running": accounts.running,
        "queued": accounts.queued,
    }
    made, start = [], 0
    for state, count in counts.items():
        made.append(Part(state, start, count))
        start += count
    return made


def run_state(run: Run) -> str:
    if run.finished is not None:
        return "cancelled" if run.cancel_requested else "done"
    if run.paused:
        return "paused"
    return "under way" if run.sealed else "open"


def moment(seconds: float | None) -> str:
    return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def ago(seconds: float | None) -> str:
    if seconds is None:
        return ""
    passed = max(0.0, time.time() - seconds)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if passed >= length:
            return f"{int(passed // length)} {unit} ago"
    return f"{int(passed)} s ago"


def duration(seconds: float | None) -> str:
    """Two units at most: `0.42 s`, `3 min 20 s`."""
    return "" if seconds is None else in_units(seconds)


def rate(per: float) -> str:
    """Digits as far as they mean something: 0, 0.37, 4.2, 1 280."""
    return f"{per:.2g}" if per < 10 else thousands(round(per))


def endpoint_colour(state: str) -> str:
    """The class of the dot before an endpoint's state."""
    return {"well": "succeeded", "failing": "failed", "trying": "cancelled", "resting": "running"}.get(state, "queued")


def cut(text: str, bound: int) -> str:
    """What is left out is counted."""
    return text if len(text) <= bound else f"{text[:bound]} … {thousands(len(text) - bound)} characters more"


def compact(value: Any) -> str:
    return orjson.dumps(value).decode()


FILTERS = {
    "parts": parts,
    "run_state": run_state,
    "thousands": thousands,
    "moment": moment,
    "ago": ago,
    "cut": cut,
    "duration": duration,
    "rate": rate,
    "endpoint_colour": endpoint_colour,
    "compact": compact,
}
