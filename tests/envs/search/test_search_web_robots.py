"""robots.txt is read as RFC 9309 says, whoever wrote it."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from aiohttp import web

from envs.search.web.fetch import Fetcher, FetchFailed
from envs.search.web.guard import Guard
from envs.search.web.manners import Pace, Robots
from envs.search.web.robots import RobotRules, parse_robots

CASES = [
    ("", ["/", "/x"], []),
    ("User-agent: *\nDisallow:", ["/x"], []),
    ("User-agent: *\nDisallow: /private", ["/x", "/Private"], ["/private", "/private/x", "/privateer?y"]),
    ("USER-AGENT : *\r\ndisallow:/a # a comment\r\rDisallow: /b", ["/x"], ["/a", "/b"]),
    ("User-agent: *\n\n\nDisallow: /a\n\nDisallow: /b", ["/x"], ["/a", "/b"]),
    ("\ufeffUser-agent: *\nDisallow: /", [], ["/", "/x"]),
    ("User-agent: *\nDisallow: /*.pdf$\nDisallow: /*?session=", ["/a.pdf.html", "/a?x"], ["/a.pdf", "/a?session=1"]),
    ("User-agent: *\nDisallow: /a*b*c$", ["/abd", "/abcd", "/ac"], ["/abc", "/a1b2c", "/abcc"]),
    ("User-agent: *\nDisallow: /\nAllow: /open\nAllow: /$", ["/", "/open/x"], ["/x", "/ope"]),
    ("User-agent: *\nAllow: /a\nDisallow: /a/b\nDisallow: /c\nAllow: /c", ["/a/x", "/c"], ["/a/b/x"]),
    ("User-agent: *\nDisallow: /\nUser-agent: Trajc/2.0\nDisallow: /t", ["/x"], ["/t"]),
    ("User-agent: *\nDisallow: /\nUser-agent: trajc", ["/x"], []),
    ("User-agent: traj\nDisallow: /\nUser-agent: trajc-news\nDisallow: /", ["/x"], []),
    ("User-agent: other\nUser-agent: trajc\nDisallow: /t\nUser-agent: *\nDisallow: /x", ["/x"], ["/t"]),
    ("User-agent: *\nDisallow: /a\n\nUser-agent: *\nDisallow: /b", ["/x"], ["/a", "/b"]),
    ("Disallow: /\nSitemap: http://x/\nno line at all\nUser-agent: *\nSitemap: y\nDisallow: /a", ["/x"], ["/a"]),
    ("User-agent: *\nDisallow: /a%20b\nDisallow: /é\nDisallow: /%7ejoe", ["/a+b"], ["/a%20b", "/%c3%a9", "/~joe"]),
    ("User-agent: *\nDisallow: /%2A\nDisallow: /b%24", ["/x", "/b"], ["/*", "/b$", "/%2a"]),
    ("<html><body>User-agent is none: <p>Disallow: /</body>", ["/x"], []),
]


@pytest.mark.parametrize(("text", "allowed", "refused"), CASES)
def test_the_rules_say_which_paths(text: str, allowed: list[str], refused: list[str]) -> None:
    rules = parse_robots(text, "trajc")
    assert ([p for p in allowed if not rules.allow(p)], [p for p in refused if rules.allow(p)]) == ([], [])


def test_a_pattern_of_endless_stars_costs_no_time() -> None:
    rules = parse_robots("User-agent: *\nDisallow: /" + "*a" * 200_000 + "$", "trajc")
    assert rules.allow("/" + "a" * 2000)


def test_the_delay_is_the_one_of_our_group() -> None:
    text = "User-agent: *\nCrawl-delay: 9\nUser-agent: trajc\nCrawl-delay: 2.5\nCrawl-delay: soon\nDisallow: /a"
    assert parse_robots(text, "trajc").delay == 2.5
    assert parse_robots(text, "other").delay == 9
    assert parse_robots("Crawl-delay: 9", "trajc") == RobotRules()


@dataclass
class Host:
    address: str = ""
    status: int = 200
    text: str = ""
    asked: int = 0

    async def handle(self, _request: web.Request) -> web.Response:
        self.asked += 1
        return web.Response(status=self.status, text=self.text)


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    fake = Host()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", fake.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    fake.address = f"127.0.0.1:{runner.addresses[0][1]}"
    yield fake
    await runner.cleanup()


async def test_of_a_huge_file_the_beginning_counts(host: Host) -> None:
    host.text = "User-agent: *\nDisallow: /early\n" + "#" * 600_000 + "\nDisallow: /late"
    async with Fetcher(Guard(allowed=frozenset([host.address])), max_bytes=10_000) as fetcher:
        robots = Robots(fetcher)
        assert await robots.pause(f"http://{host.address}/late") == 0
        with pytest.raises(FetchFailed, match="does not allow it"):
            await robots.pause(f"http://{host.address}/early")


async def test_a_site_that_could_not_be_asked_is_asked_again_soon(host: Host) -> None:
    host.status, now = 503, [1000.0]
    async with Fetcher(Guard(allowed=frozenset([host.address]))) as fetcher:
        robots = Robots(fetcher, lambda: now[0])
        for _ in range(2):
            with pytest.raises(FetchFailed, match=r"robots\.txt cannot be read"):
                await robots.pause(f"http://{host.address}/x")
        assert host.asked == 1
        host.status = 200
        now[0] += 61
        assert await robots.pause(f"http://{host.address}/x") == 0
        now[0] += 61
        await robots.pause(f"http://{host.address}/x")
        assert host.asked == 2


async def test_a_site_that_wants_more_time_gets_it() -> None:
    pace = Pace(0.0)
    begun = asyncio.get_running_loop().time()
    for _ in range(3):
        await pace.turn("a.test", 0.05)
    assert asyncio.get_running_loop().time() - begun > 0.09
    await pace.turn("b.test", 10**6)
    waiting = asyncio.create_task(pace.turn("b.test", 10**6))
    await asyncio.sleep(0)
    with pytest.raises(FetchFailed, match=r"alone for another 1[0-2]\d seconds"):
        await pace.turn("b.test", 10**6)
    waiting.cancel()
