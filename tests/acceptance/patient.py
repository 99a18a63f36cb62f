"""Requests that wait as long as a slow machine takes: httpx by itself gives up after five seconds."""

from functools import partial

import httpx

SECONDS = 300.0

get = partial(httpx.get, timeout=SECONDS)
head = partial(httpx.head, timeout=SECONDS)
post = partial(httpx.post, timeout=SECONDS)
put = partial(httpx.put, timeout=SECONDS)
delete = partial(httpx.delete, timeout=SECONDS)
stream = partial(httpx.stream, timeout=SECONDS)
