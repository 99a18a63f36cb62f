"""The agent loop: query, act, record.

Limits end a rollout as a stop reason. What breaks on our side is raised as a `TrajcError`; the caller's `Record`
still holds all that happened.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from envs.environment import Environment, Session
from envs.errors import EnvironmentFailure, boundary
from envs.score import Submission
from rollout.act import act
from rollout.model import ContextLengthExceeded, Model, ModelError, TimeExceeded
from rollout.record import Journal, NoJournal, Record
from rollout.trajectory import StopReason, Trajectory

log = logging.getLogger(__name__)

CLOSE_SECONDS = 60.0
"""How long a session may take to close before it is left to the environment's reaper."""


async def run_agent(
    record: Record,
    environment: Environment,
    model: Model,
    *,
    sampling: Mapping[str, Any],
    owner: Mapping[str, str],
    journal: Journal | None = None,
) -> Trajectory:
    """Run one rollout to its end. Raises `TrajcError` where something of ours broke."""
    journal = journal or NoJournal()
    record.begin(environment)
    with boundary(EnvironmentFailure, f"{environment.name}: starting a session"):
        session = await environment.start(record.task, owner)
    try:
        while (stop := record.limit()) is None:
            if (stop := await query(record, model, sampling)) is None:
                stop = await act(record, environment, session)
                await journal.turn(record.turn())
            if stop is not None:
                break
        submission = record.submission or await standing(record, session)
    finally:
        await close(session, record)
    return record.freeze(stop, submission)


async def query(record: Record, model: Model, sampling: Mapping[str, Any]) -> StopReason | None:
    """One model call. What the server refuses as too long, or the clock cuts off, ends the rollout."""
    wanted = record.sampling(sampling)
    record.conversation.seconds_left = record.seconds_left
    with boundary(ModelError, f"{model.name}: asking for turn {record.turns}"):
        try:
            record.heard(await model.complete(record.conversation, wanted), wanted)
        except ContextLengthExceeded:
            return "context_length"
        except TimeExceeded:
            return "timeout"
    return None


async def standing(record: Record, session: Session) -> Submission | None:
    """What a rollout that a limit ended hands in."""
    with boundary(EnvironmentFailure, f"{record.task.environment}: reading what stands handed in"):
        return await asyncio.wait_for(session.submission(), record.task.limits.tool_seconds)


async def close(session: Session, record: Record) -> None:
    """Free the session whatever happens, a second cancellation included. Its own failure costs no trajectory."""
    closing = asyncio.ensure_future(asyncio.wait_for(session.close(), CLOSE_SECONDS))
    cancelled = None
    while not closing.done():
        try:
            await asyncio.wait([closing])
        except asyncio.CancelledError as e:
            cancelled = e
    error = asyncio.CancelledError() if closing.cancelled() else closing.exception()
    if error is not None:
        log.warning("rollout %s: session not closed, left to the reaper: %r", record.identity.rollout, error)
    if cancelled is not None:
        raise cancelled
