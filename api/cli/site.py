"""The home folder as environments are handed it, for commands that work without the service."""

from api.service import site_of
from api.settings import Settings
from envs.environment import Site
from rollout.blobs import FolderBlobs


def local_site(settings: Settings, environment: str) -> Site:
    settings.home.mkdir(parents=True, exist_ok=True)
    return site_of(settings, FolderBlobs(settings.blobs), environment)
