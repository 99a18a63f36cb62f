"""How many calls an engine is given at once, from what it says of itself.

vLLM slows for everybody when its KV cache is full (it preempts and computes again), and idles when it is not. So the
bound on calls in flight grows while the cache has room, shrinks when it is nearly full or a queue builds up inside
the engine, and stays where it is when the figures are old.
"""

import re
from dataclasses import dataclass

_LINE = re.compile(r"^(?P<name>[a-zA-Z_:][\w:]*)(?:\{[^}]*\})?\s+(?P<value>\S+)", re.MULTILINE)
_RUNNING = ("vllm:num_requests_running", "sglang:num_running_reqs")
_WAITING = ("vllm:num_requests_waiting", "sglang:num_queue_reqs")
_KV = ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc", "sglang:token_usage")


@dataclass(frozen=True)
class EngineLoad:
    """An engine's own figures at a moment of our clock; several engines behind one address are added up."""

    running: float
    waiting: float
    kv: float
    """Share of the KV cache in use, 0 to 1; the fullest where there are several."""
    at: float


@dataclass(frozen=True)
class Bounds:
    """`least` and `most` calls in flight; shares of KV cache use; seconds after which figures are old."""

    least: int = 4
    most: int = 1024
    grow_below: float = 0.75
    trim_above: float = 0.92
    queue_share: float = 0.1
    """Calls waiting inside the engine, as a share of those running, that count as a queue."""
    stale: float = 20.0


BOUNDS = Bounds()


def read_metrics(text: str, at: float) -> EngineLoad | None:
    """From a Prometheus text page. None where the engine does not tell its KV cache use."""
    found: dict[str, list[float]] = {}
    for line in _LINE.finditer(text):
        if line["name"] in (*_RUNNING, *_WAITING, *_KV):
            try:
                found.setdefault(line["name"], []).append(float(line["value"]))
            except ValueError:
                continue
    kv = [v for name in _KV for v in found.get(name, ())]
    if not kv:
        return None
    return EngineLoad(
        running=sum(v for name in _RUNNING for v in found.get(name, ())),
        waiting=sum(v for name in _WAITING for v in found.get(name, ())),
        kv=max(kv),
        at=at,
    )


def adjust(slots: float, in_flight: int, load: EngineLoad | None, now: float, bounds: Bounds = BOUNDS) -> float:
    """The next bound on calls in flight, once for each reading."""
    if load is None or now - load.at > bounds.stale:
        return slots
    if load.kv >= bounds.trim_above or load.waiting > bounds.queue_share * max(load.running, 1.0):
        return max(slots * 0.85, min(slots, bounds.least))
    if load.kv <= bounds.grow_below and load.waiting == 0 and in_flight >= 0.8 * slots:
        return min(slots * 1.25 + 1, max(slots, bounds.most))
    return slots
