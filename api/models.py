"""The models of this process: one client for each model and set of endpoints, over one transport."""

import aiohttp

from api.endpoints import key_for, urls_of
from api.settings import Settings
from rollout.client import ChatClient
from rollout.model import Model
from rollout.runs import RunSpec


class Models:
    """Called by the rollout handler with a run's spec. Whoever makes `http` closes it."""

    def __init__(self, settings: Settings, http: aiohttp.ClientSession) -> None:
        self.settings = settings
        self.http = http
        self._known: dict[tuple[str, tuple[str, ...]], Model] = {}

    def __call__(self, spec: RunSpec) -> Model:
        urls = urls_of(self.settings, spec.base_urls)
        if (spec.model, urls) not in self._known:
            self._known[spec.model, urls] = ChatClient(
                urls[0], spec.model, api_key=key_for(self.settings, urls[0]), http=self.http
            )
        return self._known[spec.model, urls]
