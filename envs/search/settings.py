"""What an operator can set for the search environment (`Site.settings`)."""

import os
from collections.abc import Mapping
from typing import Any

from pydantic import Field, model_validator

from envs.errors import TaskError
from envs.frozen import Frozen
from envs.search.endpoint import EndpointSettings
from envs.search.ranking import Ranking
from envs.search.web.settings import WebSettings
from envs.settings import read_settings


class SearchSettings(Frozen):
    max_top_k: int = Field(default=20, ge=1, le=1000)
    """Results a query may list."""
    max_queries: int = Field(default=10, ge=1, le=100)
    """Queries that one `search` call may hold."""
    snippet_chars: int = Field(default=320, ge=40)
    page_chars: int = Field(default=12_000, ge=500)
    threads: int = Field(default=2 * (os.cpu_count() or 1), ge=1)
    """Searches that run at once in this process; the others wait. Beyond two a core they hinder each other."""
    judge: EndpointSettings | None = None
    """Asked about answers that the rules call wrong; without it the rules decide alone."""
    ranking: Ranking = "words"
    embeddings: EndpointSettings | None = None
    """Needed for the rankings `meaning` and `both`, of corpora that `trajc tasks embed` has embedded with its model."""
    web: WebSettings | None = None
    """The live web, for tasks whose corpus is `web`."""

    @model_validator(mode="after")
    def _embeddings_for_meaning(self) -> "SearchSettings":
        if self.ranking != "words" and self.embeddings is None:
            raise ValueError(f"ranking {self.ranking!r} needs `embeddings`: an endpoint's base_url and model")
        return self


def parse_settings(given: Mapping[str, Any]) -> SearchSettings:
    """Raises `TaskError` naming the wrong setting."""
    return read_settings(SearchSettings, given, "search")


def embeddings_endpoint(given: Mapping[str, Any], url: str | None = None, model: str | None = None) -> EndpointSettings:
    """The setting `embeddings` with another address or model; its key goes to no other address. Raises `TaskError`."""
    known = parse_settings(given).embeddings
    fields: dict[str, Any] = dict(known) if known else {}
    if url is not None and url != fields.get("base_url"):
        fields |= {"base_url": url, "api_key": None}
    if model is not None:
        fields["model"] = model
    if not {"base_url", "model"} <= fields.keys():
        raise TaskError("no embeddings endpoint is set: give --url and --model, or set `embeddings`")
    asked = parse_settings({**given, "embeddings": fields}).embeddings
    assert asked is not None
    return asked
