"""Server-sent events: what changed, with ids, so that a reader that lost its connection misses nothing."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Header, Query
from fastapi.responses import StreamingResponse

from api.problems import Problem
from api.routes.parts import TheService
from api.service import Service
from rollout.runs import Event

router = APIRouter(prefix="/events", tags=["events"])

POLL_SECONDS = 0.5
"""Events of other processes show within this time: the database is what all of them share."""
QUIET_POLLS = 30
"""Polls without an event before a comment keeps the connection alive."""
BATCH = 500
LAST = 2**63 - 1
"""No id is greater."""


class EventStream(StreamingResponse):
    media_type = "text/event-stream"


@router.get("", response_class=EventStream)
async def events(
    service: TheService,
    run: str | None = None,
    after: Annotated[
        int | None, Query(ge=0, le=LAST, description="Begin after this id. Default: with what is new.")
    ] = None,
    last: Annotated[str | None, Header(alias="Last-Event-ID")] = None,
) -> StreamingResponse:
    """`Last-Event-ID` goes on after that event; `after=0` begins with the oldest that is kept."""
    if run is not None:
        await asyncio.to_thread(service.store.check_run, run)
    start = parse_id(last) if last else after
    if start is None:
        start = await asyncio.to_thread(service.store.last_event)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return EventStream(follow(service, start, run), headers=headers)


async def follow(service: Service, after: int, run: str | None) -> AsyncIterator[bytes]:
    yield b"retry: 2000\n\n"
    quiet = 0
    while not service.closing:
        found = await asyncio.to_thread(service.store.events, after, BATCH, run)
        for event in found:
            after = event.id
            yield encode(event)
        if len(found) == BATCH:
            continue
        quiet = 0 if found else quiet + 1
        if quiet == QUIET_POLLS:
            quiet = 0
            yield b": still here\n\n"
        await asyncio.sleep(POLL_SECONDS)


def encode(event: Event) -> bytes:
    data: dict[str, Any] = {"kind": event.kind, "run": event.run, "job": event.job, "at": event.at, **event.data}
    return b"id: %d\ndata: %s\n\n" % (event.id, orjson.dumps(data))


def parse_id(value: str) -> int:
    if not re.fullmatch("[0-9]{1,19}", value) or int(value) > LAST:
        raise Problem(400, "bad-event-id", f"Last-Event-ID {value!r} is no event id of ours: ids are whole numbers")
    return int(value)
