"""Waiting for a database that is away: what a job asks of it is no fault of the job."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from sqlalchemy.exc import SQLAlchemyError

from rollout.database import stays

log = logging.getLogger(__name__)
T = TypeVar("T")

PATIENCE_SECONDS = 120.0


async def patiently(ask: Callable[[], Awaitable[T]], what: str, seconds: float = PATIENCE_SECONDS) -> T:
    """What `ask` gives, asked again for so long while the database does not do its part. `what` names it in the log."""
    give_up, pause = time.monotonic() + seconds, 0.1
    while True:
        try:
            return await ask()
        except SQLAlchemyError as e:
            if stays(e) or time.monotonic() > give_up:
                raise
            log.warning("%s: the database does not answer, trying again: %s", what, e)
        await asyncio.sleep(pause)
        pause = min(2 * pause, 5.0)
