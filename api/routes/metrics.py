"""Prometheus text, counted in the database and not in this process."""

import asyncio

from fastapi import APIRouter, Response

from api.routes.parts import TheService
from api.service import Service

router = APIRouter(tags=["health"])
MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@router.get("/metrics")
async def metrics(service: TheService) -> Response:
    return Response(await asyncio.to_thread(text, service), media_type=MEDIA_TYPE)


def text(service: Service) -> str:
    totals: dict[tuple[str, str], int] = {}
    submitted = runs = unfinished = 0
    for run in service.every_run():
        runs += 1
        unfinished += run.finished is None
        accounts = run.accounts
        submitted += accounts.submitted
        for state in ("queued", "running", "succeeded", "cancelled"):
            totals[state, ""] = totals.get((state, ""), 0) + getattr(accounts, state)
        for failure, count in accounts.failed.items():
            totals["failed", failure] = totals.get(("failed", failure), 0) + count
    lines = [
        "# HELP trajc_rollouts Rollouts by state, failed ones by class.",
        "# TYPE trajc_rollouts gauge",
        *(
            f'trajc_rollouts{{state="{state}",failure="{failure}"}} {count}'
            for (state, failure), count in sorted(totals.items())
        ),
        "# HELP trajc_rollouts_submitted_total Rollouts ever submitted.",
        "# TYPE trajc_rollouts_submitted_total counter",
        f"trajc_rollouts_submitted_total {submitted}",
        "# HELP trajc_runs Runs, and those of them that are not finished.",
        "# TYPE trajc_runs gauge",
        f'trajc_runs{{finished="no"}} {unfinished}',
        f'trajc_runs{{finished="yes"}} {runs - unfinished}',
        "# HELP trajc_datasets Datasets with a published version.",
        "# TYPE trajc_datasets gauge",
        f"trajc_datasets {len(service.store.datasets())}",
        "# HELP trajc_last_event Id of the newest event; stands still when nothing happens.",
        "# TYPE trajc_last_event counter",
        f"trajc_last_event {service.store.last_event()}",
    ]
    return "\n".join(lines) + "\n"
