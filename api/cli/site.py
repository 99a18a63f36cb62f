"""The home folder as environments are handed it, for commands that work without the service."""

from api.settings import Settings
from envs.environment import Site
from rollout.blobs import FolderBlobs


def local_site(settings: Settings) -> Site:
    settings.home.mkdir(parents=True, exist_ok=True)
    return Site(root=settings.home, blobs=FolderBlobs(settings.blobs))
