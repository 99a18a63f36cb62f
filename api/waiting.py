"""Why a run or a compilation waits, where that can be told: in the words that API, command and pages show."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from api.service import Service
from rollout.accounts import Progress
from rollout.runs import Compilation, JobKind, Run

WORKERS: dict[JobKind, tuple[str, str]] = {
    "rollout": ("rollouts", "rollouts"),
    "generation": ("calls of a recipe's models", "generation"),
    "compile_shard": ("steps of compilations", "compile"),
}
"""What waits, and which `trajc worker` takes it."""


def progress_of(service: Service, run: Run) -> Progress:
    """As the store tells it; that nobody is there to work comes before what failed last."""
    progress = service.store.progress(run.id)
    if run.finished is not None:
        return progress
    if run.paused:
        return replace(progress, reason="paused: nothing more of it begins until it is resumed")
    return replace(progress, reason=nobody_works(service, "rollout", run.id) or progress.reason)


def compilation_views(service: Service, compilations: Sequence[Compilation]) -> list[dict[str, Any]]:
    """As JSON: each with a `reason`, empty where it does not wait for somebody."""
    live = any(waits(c) for c in compilations)
    steps = nobody_works(service, "compile_shard") if live else ""
    calls = nobody_works(service, "generation") if live else ""
    return [{**asdict(c), "reason": (steps or (calls if asks(c) else "")) if waits(c) else ""} for c in compilations]


def waits(compilation: Compilation) -> bool:
    return compilation.state in ("queued", "running")


def asks(compilation: Compilation) -> bool:
    """Whether it has model calls that are not answered yet."""
    accounts = compilation.accounts or {}
    return bool(accounts.get("calls", 0) > accounts.get("answered", 0))


def nobody_works(service: Service, kind: JobKind, run: str | None = None) -> str:
    """Words where jobs of this kind wait and no worker takes them; none where the service works by itself."""
    settings = service.settings
    if settings.redis_url is None or settings.serve_works or not (count := service.store.untaken(kind, run)):
        return ""
    what, worker = WORKERS[kind]
    return f"{count} {what} wait and no worker takes them: start one with `trajc worker {worker}`"
