"""What an operator sets for the live web (the `web` part of the search environment's settings)."""

from pydantic import Field

from envs.frozen import Frozen
from envs.search.web.providers import ProviderSettings


class WebSettings(Frozen):
    provider: ProviderSettings
    fetch_seconds: float = Field(default=20, gt=0)
    """For one page, redirects included."""
    max_bytes: int = Field(default=5_000_000, ge=10_000)
    """Of one page, packed and unpacked."""
    max_redirects: int = Field(default=5, ge=0, le=20)
    keep_seconds: float = Field(default=86_400, ge=0)
    """How long a fetched page stands for the live one."""
    pause_seconds: float = Field(default=1, ge=0)
    """Between two requests to one host by this process."""
    allowed_hosts: frozenset[str] = frozenset()
    """`host:port` that may be fetched although they are private: an operator's own mirror."""
