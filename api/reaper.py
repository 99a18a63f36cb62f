"""Containers that outlived their rollout are removed while the service runs: those that no live lease owns."""

import asyncio
import logging
import socket
from collections.abc import Collection, Iterator

from sqlalchemy.exc import SQLAlchemyError

from api.service import Service
from envs.errors import SandboxError, TaskError
from envs.swe.engine.engine import connect, disconnect, reap
from envs.swe.settings import parse_settings
from rollout.adoption import spared
from rollout.database import NotFound

log = logging.getLogger(__name__)
LEASES = 2.0
"""Between two rounds: before one has run out, a lost container may still be taken up."""


async def reap_containers(service: Service) -> None:
    """For ever. A machine without a Docker engine has nothing to reap."""
    try:
        settings = parse_settings(service.settings.environments.get("swe", {}))
    except TaskError:
        return  # the environment itself says what is wrong with them
    if settings.sandbox != "docker":
        return
    while True:
        try:
            client = connect(settings.docker_url)
            try:
                removed = await reap(client, Leases(service), service.label, socket.gethostname())
            finally:
                await disconnect(client)
            if removed:
                log.warning("removed %d containers that no lease owned", removed)
        except SandboxError as e:
            log.debug("no containers reaped: %s", e)
        except SQLAlchemyError as e:
            log.warning("no containers reaped, trying again: the database does not say whose they are: %s", e)
        await asyncio.sleep(LEASES * service.settings.lease_seconds)


class Leases(Collection[str]):
    """The attempts that run now, and those whose successor may yet take up what they left, as `ROLLOUT/ATTEMPT`: asked
    one by one, when a container is looked at, so that one which started in between is not taken for an orphan."""

    def __init__(self, service: Service) -> None:
        self.store = service.store

    def __contains__(self, owner: object) -> bool:
        id, _, attempt = str(owner).partition("/")
        try:
            rollout = self.store.rollout(id)
        except NotFound:
            return False
        return attempt.isdigit() and spared(rollout, int(attempt), self.store.now())

    def __iter__(self) -> Iterator[str]:
        cursor = None
        while True:
            page = self.store.rollouts(status="running", cursor=cursor, limit=1000)
            yield from (f"{r.id}/{r.attempt}" for r in page.items)
            if (cursor := page.next) is None:
                return

    def __len__(self) -> int:
        return sum(1 for _ in self)
