"""The home folder as environments are handed it, for commands that work without the service."""

from api.cli.terminal import fail
from api.service import site_of, unmade
from api.settings import Settings
from envs.environment import Site
from rollout.blobs import FolderBlobs


def local_site(settings: Settings, environment: str) -> Site:
    try:
        settings.home.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        fail(unmade(settings, e), 2)
    return site_of(settings, FolderBlobs(settings.blobs), environment)
