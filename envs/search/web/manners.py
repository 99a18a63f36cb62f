"""What a polite reader keeps to: robots.txt (RFC 9309) and a pause between requests to one host."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable

import httpx

from envs.search.web.fetch import USER_AGENT, Fetcher, FetchFailed
from envs.search.web.guard import Refused
from envs.search.web.robots import RobotRules, parse_robots

_REMEMBERED = 2000
_AGENT = USER_AGENT.partition("/")[0]
_ROBOTS_SECONDS = 3600.0
_UNREADABLE_SECONDS = 60.0
"""A site that could not be asked may be back soon."""
_ROBOTS_BYTES = 512_000
_LONGEST_TURN = 60.0
"""Seconds that a request waits for its turn; what would wait longer is not made."""
_LONGEST_HOLD = 3600.0


class Robots:
    """Each host's rules, asked for once an hour."""

    def __init__(self, fetcher: Fetcher, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._fetcher = fetcher
        self._monotonic = monotonic
        self._rules: OrderedDict[str, tuple[float, RobotRules | None]] = OrderedDict()
        """(until when they stand, of the monotonic clock; what they are, None where they could not be read)."""
        self._asking: dict[str, asyncio.Lock] = {}

    async def pause(self, url: str) -> float:
        """Seconds that the site wants between two requests. Raises `FetchFailed` where it does not allow this one."""
        parsed = httpx.URL(url)
        origin = f"{parsed.scheme}://{parsed.netloc.decode('ascii')}"
        lock = self._asking.setdefault(origin, asyncio.Lock())
        try:
            async with lock:
                until, rules = self._rules.get(origin, (0.0, None))
                if self._monotonic() >= until:
                    rules = await self._ask(origin)
                    stands = _UNREADABLE_SECONDS if rules is None else _ROBOTS_SECONDS
                    self._rules[origin] = self._monotonic() + stands, rules
                    while len(self._rules) > _REMEMBERED:
                        self._rules.popitem(last=False)
        finally:
            if not lock.locked():
                self._asking.pop(origin, None)
        if rules is None:
            raise FetchFailed("the site's robots.txt cannot be read, and without it nothing else may be")
        if not rules.allow(parsed.raw_path.decode("ascii")):
            raise FetchFailed("the site's robots.txt does not allow it")
        return rules.delay

    async def _ask(self, origin: str) -> RobotRules | None:
        """No file means no rules; a server that fails means that nothing is allowed (RFC 9309, 2.3.1)."""
        try:
            answer = await self._fetcher.get(f"{origin}/robots.txt", first=_ROBOTS_BYTES)
        except (FetchFailed, Refused):
            return None
        if answer.status >= 500:
            return None
        found = answer.body if answer.status < 400 else b""
        return parse_robots(found.decode("utf-8", "replace"), _AGENT)


class Pace:
    """At least `seconds` between two requests to one host; callers queue. One for all rollouts of a process."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._next: OrderedDict[str, float] = OrderedDict()

    async def turn(self, host: str, at_least: float = 0.0) -> None:
        """`at_least`: seconds that the host itself wants between two. Raises `FetchFailed` where the host's turn would
        come too late to wait for."""
        now = time.monotonic()
        mine = max(now, self._next.get(host, 0.0))
        if mine - now > _LONGEST_TURN:
            raise FetchFailed(f"the site asks to be left alone for another {mine - now:.0f} seconds")
        self._put(host, mine + max(self._seconds, min(at_least, _LONGEST_TURN)))
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
