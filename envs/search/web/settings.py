"""What an operator sets for the live web (the `web` part of the search environment's settings)."""

from pydantic import Field

from envs.frozen import Frozen
from envs.search.web.providers import ProviderSettings


class WebSettings(Frozen):
    provider: ProviderSettings
    fetch_seconds: float = Field(default=20, gt=0)
    """For one page, redirects included."""
    read_seconds: float = Field(default=10, gt=0)
    """For making out one page's text."""
    readers: int = Field(default=2, ge=1)
    """Processes that do so."""
    max_bytes: int = Field(default=5_000_000, ge=10_000)
    """Of one page, packed and unpacked."""
    max_redirects: int = Field(default=5, ge=0, le=20)
    keep_seconds: float = Field(default=86_400, ge=0)
    """How long a fetched page stands for the live one."""
    pause_seconds: float = Field(default=1, ge=0)
    """Between two requests to one host by this process."""
    allowed_hosts: frozenset[str] = frozenset()
    """`host:port` that may be fetched although they are private: an operator's own mirror."""
    fill_listed: bool = False
    """Whether the pages of results that were listed and never visited are fetched after a rollout, so that their
    full text is in its evidence."""
    fill_pages: int = Field(default=100, ge=1)
    fill_seconds: float = Field(default=120, gt=0)
    """Bounds of that, for one rollout."""
