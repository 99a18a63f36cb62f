"""What a polite reader keeps to: robots.txt (RFC 9309) and a pause between requests to one host."""

import asyncio
import time
from collections import OrderedDict
from urllib.robotparser import RobotFileParser

import httpx

from envs.search.web.fetch import USER_AGENT, Fetcher, FetchFailed
from envs.search.web.guard import Refused

_REMEMBERED = 2000
_ROBOTS_SECONDS = 3600.0
_ROBOTS_BYTES = 512_000
_LONGEST_TURN = 60.0
"""Seconds that a request waits for its turn; what would wait longer is not made."""
_LONGEST_HOLD = 3600.0


class Robots:
    """Each host's rules, asked for once an hour."""

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher
        self._rules: OrderedDict[str, tuple[float, RobotFileParser]] = OrderedDict()
        self._asking: dict[str, asyncio.Lock] = {}

    async def allows(self, url: str) -> bool:
        parsed = httpx.URL(url)
        origin = f"{parsed.scheme}://{parsed.netloc.decode('ascii')}"
        lock = self._asking.setdefault(origin, asyncio.Lock())
        try:
            async with lock:
                known = self._rules.get(origin)
                if known is None or time.monotonic() - known[0] > _ROBOTS_SECONDS:
                    known = self._rules[origin] = (time.monotonic(), await self._ask(origin))
                    while len(self._rules) > _REMEMBERED:
                        self._rules.popitem(last=False)
        finally:
            if not lock.locked():
                self._asking.pop(origin, None)
        return known[1].can_fetch(USER_AGENT, url)

    async def _ask(self, origin: str) -> RobotFileParser:
        """No file means no rules; a server that fails means that nothing is allowed (RFC 9309, 2.3.1)."""
        rules = RobotFileParser()
        try:
            answer = await self._fetcher.get(f"{origin}/robots.txt")
        except (FetchFailed, Refused):
            rules.parse(["User-agent: *", "Disallow: /"])
            return rules
        if answer.status >= 500:
            rules.parse(["User-agent: *", "Disallow: /"])
        else:
            found = answer.body[:_ROBOTS_BYTES] if answer.status < 400 else b""
            rules.parse(found.decode("utf-8", "replace").splitlines())
        return rules


class Pace:
    """At least `seconds` between two requests to one host; callers queue. One for all rollouts of a process."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._next: OrderedDict[str, float] = OrderedDict()

    async def turn(self, host: str) -> None:
        """Raises `FetchFailed` where the host's turn would come too late to wait for."""
        now = time.monotonic()
        mine = max(now, self._next.get(host, 0.0))
        if mine - now > _LONGEST_TURN:
            raise FetchFailed(f"the site asks to be left alone for another {mine - now:.0f} seconds")
        self._put(host, mine + self._seconds)
        await asyncio.sleep(mine - now)

    def hold(self, host: str, seconds: float) -> None:
        """Leave the host alone for so long: it asked for that."""
        until = time.monotonic() + min(seconds, _LONGEST_HOLD)
        self._put(host, max(until, self._next.get(host, 0.0)))

    def _put(self, host: str, until: float) -> None:
        self._next[host] = until
        self._next.move_to_end(host)
        while len(self._next) > _REMEMBERED:
            self._next.popitem(last=False)
