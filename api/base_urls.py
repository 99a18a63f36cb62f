"""Base URLs as settings and callers may give them.

Held to more than `plain_urls`, which reads what was kept before: a run of an earlier release stays readable.
"""

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from rollout.runs import plain_urls

LONGEST = 2000


def askable(urls: Iterable[str]) -> tuple[str, ...]:
    """The URLs. Raises `ValueError` where one is no http(s) URL that can be asked, or carries a secret."""
    urls = tuple(urls)
    for url in urls:
        if len(url) > LONGEST:
            raise ValueError(f"a base URL is longer than {LONGEST} characters")
        if not _can_be_asked(url):
            shown = "one with credentials" if "@" in url else repr(re.split("[?#]", url)[0])
            raise ValueError(f"a base URL is http(s)://host[:port]/path, not {shown}")
        if "#" in url:
            raise ValueError(
                f"the base URL of {urlsplit(url).hostname} carries a fragment (#...), which no endpoint is sent; "
                "API keys belong in the settings"
            )
    return plain_urls(urls)


def _can_be_asked(url: str) -> bool:
    try:
        _ = urlsplit(url).port  # read, and so checked, when it is asked for
    except ValueError:
        return False
    return re.search(r"[\x00-\x20\x7f]", url) is None
