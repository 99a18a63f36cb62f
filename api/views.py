"""The JSON of runs, rollouts, compilations and the rest, as the API gives it."""

from dataclasses import asdict
from typing import Any

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


def rollout_view(rollout: Rollout, scores: tuple[ScoreRow, ...] = ()) -> dict[str, Any]:
    return {**asdict(rollout), "scores": [score_view(s) for s in scores]}


def score_view(row: ScoreRow) -> dict[str, Any]:
    return {"id": row.id, "created": row.created, **row.score.model_dump(mode="json")}
