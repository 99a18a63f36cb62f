"""The JSON of runs, rollouts, compilations and the rest, as the API gives it."""

from dataclasses import asdict
from typing import Any

from rollout.accounts import Progress
from rollout.endpoints import RECENT_SECONDS, EndpointUse
from rollout.runs import Rollout, Run, ScoreRow


def run_view(run: Run) -> dict[str, Any]:
    return {
        "id": run.id,
        "name": run.name,
        "state": run.state,
        "paused": run.paused,
        "cancel_requested": run.cancel_requested,
        "done": run.finished is not None,
        "accounts": run.accounts.as_dict(),
        "spec": run.spec.model_dump(mode="json"),
        "created": run.created,
        "finished": run.finished,
    }


def progress_view(progress: Progress) -> dict[str, Any]:
    return {
        "calls": progress.calls,
        "prompt_tokens": progress.prompt_tokens,
        "completion_tokens": progress.completion_tokens,
        "cached_tokens": progress.cached_tokens,
        "rollouts_per_second": progress.rollouts_per_second,
        "prompt_tokens_per_second": progress.prompt_tokens_per_second,
        "completion_tokens_per_second": progress.completion_tokens_per_second,
        "seconds_left": progress.seconds_left,
        "reason": progress.reason,
        "endpoints": [use_view(use) for use in progress.endpoints],
    }


def use_view(use: EndpointUse) -> dict[str, Any]:
    return {
        "endpoint": use.endpoint,
        "state": use.state,
        "calls": use.calls,
        "failures": use.failures,
        "prompt_tokens": use.prompt_tokens,
        "completion_tokens": use.completion_tokens,
        "cached_tokens": use.cached_tokens,
        "seconds_per_call": use.seconds_per_call,
        "calls_per_second": use.recent_calls / RECENT_SECONDS,
        "prompt_tokens_per_second": use.recent_prompt_tokens / RECENT_SECONDS,
        "completion_tokens_per_second": use.recent_completion_tokens / RECENT_SECONDS,
        "in_flight": use.in_flight,
        "waiting": use.waiting,
        "slots": use.slots,
        "workers": use.workers,
        "trouble": use.trouble,
        "troubled": use.troubled,
    }


def rollout_view(rollout: Rollout, scores: tuple[ScoreRow, ...] = ()) -> dict[str, Any]:
    return {**asdict(rollout), "scores": [score_view(s) for s in scores]}


def score_view(row: ScoreRow) -> dict[str, Any]:
    return {"id": row.id, "created": row.created, **row.score.model_dump(mode="json")}
