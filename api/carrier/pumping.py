"""The pump at work in the service: a turn each second, and at once when something was queued here."""

import asyncio
import logging

from sqlalchemy.exc import SQLAlchemyError

from api.carrier.pump import Pump
from api.carrier.redis_carrier import RedisCarrier
from rollout.store import Store

log = logging.getLogger(__name__)
TURN_SECONDS = 1.0


async def pump_jobs(store: Store, redis_url: str) -> None:
    """For ever."""
    loop, queued = asyncio.get_running_loop(), asyncio.Event()

    def wake() -> None:
        loop.call_soon_threadsafe(queued.set)

    unlisten = store.on_queued(wake)
    carrier = RedisCarrier(redis_url)
    pump = Pump(store, carrier)
    try:
        while True:
            queued.clear()
            try:
                await asyncio.to_thread(pump.turn)
            except SQLAlchemyError as e:
                log.error("the pump cannot read the database, trying again: %s", e)
            try:
                async with asyncio.timeout(TURN_SECONDS):
                    await queued.wait()
            except TimeoutError:
                pass
    finally:
        unlisten()
        await asyncio.to_thread(carrier.close)
