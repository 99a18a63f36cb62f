"""What every route, page and command handler is handed: the store, the blobs, the environments, the settings."""

import hashlib
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from threading import Lock

import sqlalchemy as sa

from api.problems import unknown
from api.settings import Settings
from envs.blobs import BlobStore
from envs.environment import Environment, Site
from envs.errors import TrajcError
from envs.registry import create, names, scorer_of
from rollout.blobs import FolderBlobs
from rollout.migrations import NewerDatabase
from rollout.runs import Run
from rollout.store import Store

log = logging.getLogger(__name__)


@dataclass
class Service:
    settings: Settings
    store: Store
    blobs: FolderBlobs
    closing: bool = False
    """Set when the service shuts down: streams look at it and end."""
    _environments: dict[str, Environment] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    @property
    def label(self) -> str:
        """Names this service on what it makes outside the home folder (containers), apart from others' there."""
        return label_of(self.settings)

    @property
    def environment_names(self) -> list[str]:
        return sorted(names())

    def environment(self, name: str) -> Environment:
        """One of each for the process. Raises `Problem` naming the known ones."""
        if name not in names():
            raise unknown("environment", name, names())
        with self._lock:
            if name not in self._environments:
                self._environments[name] = create(name, site_of(self.settings, self.blobs, name))
            return self._environments[name]

    def every_environment(self) -> dict[str, Environment]:
        """Those that can be loaded: another package's broken one must not keep the service down."""
        if stray := sorted({*self.settings.environments} - {*names()}):
            log.error(
                "TRAJC_ENVIRONMENTS: no environment is called %s: its settings are not used; known: %s",
                ", ".join(map(repr, stray)),
                ", ".join(self.environment_names),
            )
        found = {}
        for name in self.environment_names:
            try:
                found[name] = self.environment(name)
            except TrajcError as e:
                log.error("rollouts in environment %s will fail: %s", name, e)
        return found

    def scorers(self) -> dict[str, str]:
        """What judges in each environment, by its name."""
        return {name: scorer_of(environment) for name, environment in self.every_environment().items()}

    def every_run(self) -> Iterator[Run]:
        """Newest first."""
        cursor = None
        while True:
            page = self.store.runs(cursor, 500)
            yield from page.items
            if (cursor := page.next) is None:
                return

    async def close_environments(self) -> None:
        for environment in self._environments.values():
            await environment.close()


def site_of(settings: Settings, blobs: BlobStore, environment: str) -> Site:
    """What one environment is handed of the home folder and the settings."""
    given = settings.environments.get(environment, {})
    return Site(root=settings.home, blobs=blobs, settings=given, service=label_of(settings))


def label_of(settings: Settings) -> str:
    return f"trajc-{hashlib.sha256(settings.database.encode()).hexdigest()[:12]}"


class NotOpen(Exception):
    """The service must not, or cannot, start as its settings say. The words say why and the way out."""


@contextmanager
def open_service(settings: Settings) -> Iterator[Service]:
    """Makes the home folder and brings the database up to date. Raises `NotOpen`."""
    try:
        settings.home.mkdir(parents=True, exist_ok=True)
        blobs = FolderBlobs(settings.blobs, fsync=settings.fsync)
    except OSError as e:
        raise NotOpen(unmade(settings, e)) from None
    with ExitStack() as stack:
        try:
            store = stack.enter_context(Store.open(settings.database, blobs, fsync=settings.fsync))
        except (sa.exc.SQLAlchemyError, OSError, NewerDatabase) as e:
            raise NotOpen(_unopened(settings, e)) from None
        yield Service(settings, store, blobs)


def unmade(settings: Settings, error: OSError) -> str:
    way_out = "set TRAJC_HOME to a folder that you may write"
    return f"the home folder {settings.home} cannot be made: {error.strerror}; {way_out}"


def _unopened(settings: Settings, error: Exception) -> str:
    words = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
    mine = settings.database_url is None
    which = f"the database in {settings.home}" if mine else "the database of TRAJC_DATABASE_URL"
    way_out = "; set TRAJC_HOME to a folder that you may write" if mine else "; start it, or unset it to use SQLite"
    return f"{which} cannot be opened: {words}{'' if isinstance(error, NewerDatabase) else way_out}"
