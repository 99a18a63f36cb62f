"""Prometheus text, counted in the database and not in this process."""

import asyncio
from collections.abc import Callable, Iterator

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse

from api.routes.parts import TheService
from api.service import Service
from rollout.endpoints import EndpointUse

router = APIRouter(tags=["health"])
MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(service: TheService) -> Response:
    return Response(await asyncio.to_thread(text, service), media_type=MEDIA_TYPE)


def text(service: Service) -> str:
    accounts, finished, unfinished = service.store.totals()
    totals = {(state, ""): getattr(accounts, state) for state in ("queued", "running", "succeeded", "cancelled")}
    totals |= {("failed", failure): count for failure, count in accounts.failed.items()}
    uses = service.store.endpoint_uses()
    lines = [
        "# HELP trajc_rollouts Rollouts by state, failed ones by class.",
        "# TYPE trajc_rollouts gauge",
        *(
            f'trajc_rollouts{{state="{state}",failure="{failure}"}} {count}'
            for (state, failure), count in sorted(totals.items())
        ),
        "# HELP trajc_rollouts_submitted_total Rollouts ever submitted.",
        "# TYPE trajc_rollouts_submitted_total counter",
        f"trajc_rollouts_submitted_total {accounts.submitted}",
        "# HELP trajc_runs Runs, and those of them that are not finished.",
        "# TYPE trajc_runs gauge",
        f'trajc_runs{{finished="no"}} {unfinished}',
        f'trajc_runs{{finished="yes"}} {finished}',
        *(line for name, kind, words, value in OF_ENDPOINTS for line in family(name, kind, words, value, uses)),
        "# HELP trajc_datasets Datasets with a published version.",
        "# TYPE trajc_datasets gauge",
        f"trajc_datasets {len(service.store.datasets())}",
        "# HELP trajc_last_event Id of the newest event; stands still when nothing happens.",
        "# TYPE trajc_last_event counter",
        f"trajc_last_event {service.store.last_event()}",
    ]
    return "\n".join(lines) + "\n"


OF_ENDPOINTS: tuple[tuple[str, str, str, Callable[[EndpointUse], float]], ...] = (
    ("calls_total", "counter", "Model calls answered.", lambda use: use.calls),
    ("failures_total", "counter", "Requests to the endpoint that failed.", lambda use: use.failures),
    ("prompt_tokens_total", "counter", "Prompt tokens.", lambda use: use.prompt_tokens),
    ("completion_tokens_total", "counter", "Generated tokens.", lambda use: use.completion_tokens),
    ("call_seconds_total", "counter", "Seconds of the answered calls.", lambda use: use.seconds),
    ("in_flight", "gauge", "Model calls in flight.", lambda use: use.in_flight),
)


def family(
    name: str, kind: str, words: str, value: Callable[[EndpointUse], float], uses: tuple[EndpointUse, ...]
) -> Iterator[str]:
    name = f"trajc_endpoint_{name}"
    yield f"# HELP {name} {words}"
    yield f"# TYPE {name} {kind}"
    yield from (f'{name}{{endpoint="{escaped(use.endpoint)}"}} {value(use)}' for use in uses)


def escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
