"""The web as an attacker would serve it: pages, servers and names made to reach inside, to stall or to break."""

import asyncio
import ipaddress
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from envs.blobs import MemoryBlobs
from envs.environment import Site
from envs.search.environment import SearchEnvironment
from envs.search.tools import VISIT
from envs.search.web.fetch import Fetched, Fetcher, FetchFailed
from envs.search.web.guard import Guard, Refused, is_public
from envs.search.web.reader import Readers
from envs.task import Task

TASK = Task(id="t", environment="search", question="?", world={"corpus": "web"})
OK = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n"
Serve = Callable[[str, asyncio.StreamWriter], Any]


async def whole(writer: asyncio.StreamWriter, body: bytes, head: bytes = OK) -> None:
    writer.write(head + f"content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body)
    await writer.drain()


class RawSite:
    """A server that says byte for byte what a test wants; `heads` keeps what it was asked."""

    def __init__(self) -> None:
        self.heads: list[str] = []
        self.pages: dict[str, Serve] = {}
        self.port = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            self.heads.append(head)
            path = head.split(" ")[1].partition("?")[0]
            if path in self.pages:
                await self.pages[path](head, writer)
            else:
                await whole(writer, b"", b"HTTP/1.1 404 Not Found\r\n")
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def asked(self, path: str) -> list[str]:
        return [head for head in self.heads if head.split(" ")[1].partition("?")[0] == path]

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"


@pytest.fixture
async def raw() -> AsyncIterator[RawSite]:
    site = RawSite()
    server = await asyncio.start_server(site.handle, "127.0.0.1", 0)
    site.port = server.sockets[0].getsockname()[1]
    yield site
    server.close()


def fetcher(site: RawSite, **bounds: Any) -> Fetcher:
    return Fetcher(Guard(allowed=frozenset({f"127.0.0.1:{site.port}"})), **bounds)


@asynccontextmanager
async def searching(folder: Path, site: RawSite, **more: Any) -> AsyncIterator[SearchEnvironment]:
    web = {
        "provider": {"shape": "searxng", "url": site.url("")},
        "pause_seconds": 0,
        "allowed_hosts": [f"127.0.0.1:{site.port}"],
        **more,
    }
    environment = SearchEnvironment(Site(folder, MemoryBlobs(), {"web": web}))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(environment.close)
        yield environment


async def visited(environment: SearchEnvironment, url: str) -> tuple[bool, str]:
    result = await (await environment.start(TASK, {})).call("visit", VISIT.parse({"id": url}))
    return result.is_error, result.text


# ------------------------------------------------------------------------------------------------- addresses

INSIDE = [
    "127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200",
    "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.168.0.1", "198.18.0.1",
    "192.0.0.192", "192.88.99.1",
    "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "168.63.129.16",
]  # fmt: skip
FORMS: list[Callable[[ipaddress.IPv4Address], str]] = [
    str,
    lambda a: f"::ffff:{a}",
    lambda a: f"::{a}",
    lambda a: f"::ffff:0:{a}",
    lambda a: f"64:ff9b::{a}",
    lambda a: f"64:ff9b:1::{a}",
    lambda a: str(ipaddress.IPv6Address((0x2002 << 112) | (int(a) << 80) | 1)),
    lambda a: str(ipaddress.IPv6Address((0x20010000 << 96) | (0x08080808 << 64) | (int(a) ^ 0xFFFFFFFF))),
]


@pytest.mark.parametrize("form", range(len(FORMS)))
@pytest.mark.parametrize("inside", INSIDE)
def test_no_form_of_an_inside_address_counts_as_public(inside: str, form: int) -> None:
    assert not is_public(ipaddress.ip_address(FORMS[form](ipaddress.IPv4Address(inside))))


@pytest.mark.parametrize("form", [0, 1, 4, 6])
def test_the_same_forms_of_a_public_address_do(form: int) -> None:
    assert is_public(ipaddress.ip_address(FORMS[form](ipaddress.IPv4Address("93.184.215.14"))))


@pytest.mark.parametrize(
    "address",
    ["fd00:ec2::254", "fe80::1", "febf::1", "fc00::1", "ff0e::1", "100::1", "5f00::1", "4000::1", "1fff::1", "::2",
     "3fff::1"],
)  # fmt: skip
def test_only_what_is_given_out_for_the_internet_is_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "host",
    [
        "0", "0.0.0.0", "127.1", "127.0.1", "2130706433", "017700000001", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1",
        "0x7f.0x0.0x0.0x1", "127.0.0.1.", "localhost", "LOCALHOST", "localhost.", "ip6-localhost", "[::]", "[::1]",
        "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]", "[fe80::1%25lo]", "[fe80::1%25eth0]", "①②⑦.⓪.⓪.①", "127。0。0。1", "127．0．0．1",
        "2852039166", "0xa9fea9fe", "169.254.43518", "[::ffff:a9fe:a9fe]", "metadata.google.internal",
    ],
)  # fmt: skip
async def test_no_spelling_of_a_host_inside_is_fetched(host: str) -> None:
    """Each is refused by the guard: by its address, or because it has none."""
    with pytest.raises(Refused):
        await Guard().check(f"http://{host}/")


async def test_a_name_that_moves_inside_between_two_hops_is_refused_at_the_second(raw: RawSite) -> None:
    """Each request asks the name server once, and every answer is judged anew."""
    answers = iter([["127.0.0.1"], ["10.0.0.1"]])

    async def resolve(_host: str, port: int) -> list[str]:
        return next(answers) if port == raw.port else ["8.8.8.8", "10.0.0.1"]

    raw.pages["/"] = lambda _, w: whole(w, b"", b"HTTP/1.1 302 Found\r\nlocation: http://moving.test/inside\r\n")
    guard = Guard(resolve=resolve, allowed=frozenset({f"moving.test:{raw.port}"}))
    async with Fetcher(guard, seconds=60) as fetching:
        with pytest.raises(Refused, match="not on the public internet"):
            await fetching.get(f"http://moving.test:{raw.port}/")
    assert len(raw.heads) == 1


async def test_a_name_server_that_never_answers_is_on_the_clock() -> None:
    async def resolve(_host: str, _port: int) -> list[str]:
        await asyncio.Event().wait()
        raise AssertionError

    async with Fetcher(Guard(resolve=resolve), seconds=0.2) as fetching:
        with pytest.raises(FetchFailed, match=r"within 0\.2 seconds"):
            await fetching.get("http://slow.test/")


# ------------------------------------------------------------------------------------------------- redirects


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd", "FILE:/etc/passwd", "ftp://example.com/", "gopher://127.0.0.1:6379/_INFO",
        "dict://127.0.0.1/", "data:text/html,x", "javascript:alert(1)", "jar:http://x!/", "ldap://127.0.0.1/",
        "unix:///var/run/docker.sock", "http://user:pw@127.0.0.1/", "http://169.254.169.254/latest/meta-data/",
        "//169.254.169.254/", "http:\\\\10.0.0.1\\", "http://[::ffff:10.0.0.1]/", "https://127.0.0.1/",
        "http://127.0.0.1:22/", "http://[", "http://%00/", "http://a b/", "http://" + "a" * 3000 + "/",
        "http://\udcff/", "http://10.0.0.1#@example.com/", "http://example.com@10.0.0.1/", "http://0xa000001/",
    ],
)  # fmt: skip
async def test_no_redirect_leads_inside_or_out_of_the_web(raw: RawSite, location: str) -> None:
    head = b"HTTP/1.1 302 Found\r\nlocation: " + location.encode("utf-8", "surrogateescape") + b"\r\n"
    raw.pages["/"] = lambda _, w: whole(w, b"", head)
    async with fetcher(raw, seconds=60) as fetching:
        with pytest.raises((Refused, FetchFailed)):
            await fetching.get(raw.url("/"))
    assert len(raw.heads) == 1


@pytest.mark.parametrize("robots", ["/robots.txt", "/a", "http://10.0.0.1/robots.txt", "file:///etc/passwd"])
async def test_robots_that_lead_nowhere_allow_nothing_and_end(tmp_path: Path, raw: RawSite, robots: str) -> None:
    raw.pages["/robots.txt"] = raw.pages["/a"] = lambda _, w: whole(
        w, b"", f"HTTP/1.1 301 Moved\r\nlocation: {robots}\r\n".encode()
    )
    raw.pages["/page"] = lambda _, w: whole(w, b"words")
    async with searching(tmp_path, raw) as environment:
        assert await visited(environment, raw.url("/page")) == (
            True,
            f"The page {raw.url('/page')} could not be read: the site's robots.txt cannot be read, and without it "
            "nothing else may be. "
            "Use another result, or search again.",
        )
    assert raw.asked("/page") == []
    assert len(raw.heads) <= 6


# ------------------------------------------------------------------------------------------------- servers


async def drip(_: str, writer: asyncio.StreamWriter) -> None:
    writer.write(OK + b"content-length: 100000\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.02)


async def endless_headers(_: str, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    for number in range(100_000):
        writer.write(f"x-{number}: {'y' * 500}\r\n".encode())
        await writer.drain()


async def endless_informing(_: str, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0)


async def endless_body(_: str, writer: asyncio.StreamWriter) -> None:
    writer.write(OK + b"transfer-encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        await writer.drain()


async def endless_gzip(_: str, writer: asyncio.StreamWriter) -> None:
    writer.write(OK + b"content-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n")
    pack = zlib.compressobj(wbits=31)
    while True:
        data = pack.compress(b"0" * 1_000_000) + pack.flush(zlib.Z_SYNC_FLUSH)
        writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        await writer.drain()
        await asyncio.sleep(0)  # what fits into the kernel's buffer makes no drain wait


async def empty_members(_: str, writer: asyncio.StreamWriter) -> None:
    """Each is 20 bytes that unpack to nothing."""
    pack = zlib.compressobj(wbits=31)
    member = pack.compress(b"") + pack.flush()
    writer.write(OK + b"content-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"%x\r\n" % (len(member) * 1000) + member * 1000 + b"\r\n")
        await writer.drain()


def says(data: bytes) -> Serve:
    async def serve(_: str, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()

    return serve


@pytest.mark.parametrize(
    ("serve", "words"),
    [
        (drip, "within 1 seconds"),
        (endless_informing, "within 1 seconds"),
        (endless_headers, "connection failed"),
        (endless_body, "larger than 1000000 bytes"),
        (endless_gzip, "larger than 1000000 bytes"),
        (empty_members, "larger than 1000000 bytes"),
        (says(OK + b"content-length: 1000\r\n\r\nshort"), "connection failed"),
        (says(OK + b"content-length: -1\r\n\r\nx"), "connection failed"),
        (says(OK + b"content-length: 99999999999999999999999\r\n\r\nx"), "connection failed"),
        (says(OK + b"content-length: 1\r\ncontent-length: 2\r\n\r\nxx"), "connection failed"),
        (says(OK + b"transfer-encoding: chunked\r\n\r\nZZ\r\nx"), "connection failed"),
        (says(OK + b"content-encoding: gzip\r\ncontent-length: 3\r\n\r\nabc"), "connection failed"),
        (says(OK + b"content-encoding: gzip, gzip\r\ncontent-length: 3\r\n\r\nabc"), "was not asked for"),
        (says(b"\x16\x03\x01\x02\x00"), "connection failed"),
        (says(b""), "connection failed"),
        (says(b"HTTP/1.1 OK\r\n\r\n"), "connection failed"),
        (says(b"220 mail.example ESMTP\r\n"), "connection failed"),
    ],
)
async def test_a_hostile_server_is_bounded_in_time_bytes_and_headers(raw: RawSite, serve: Serve, words: str) -> None:
    raw.pages["/"] = serve
    seconds = 1 if "seconds" in words else 60
    async with fetcher(raw, seconds=seconds, max_bytes=1_000_000) as fetching:
        with pytest.raises(FetchFailed, match=words):
            await fetching.get(raw.url("/"))


async def test_more_bytes_than_were_announced_are_not_read(raw: RawSite) -> None:
    raw.pages["/"] = says(OK + b"content-length: 5\r\n\r\nhello, and a smuggled answer")
    async with fetcher(raw, seconds=60) as fetching:
        assert (await fetching.get(raw.url("/"))).body == b"hello"


async def test_no_rollout_sees_the_cookies_of_another(tmp_path: Path, raw: RawSite) -> None:
    """Nor its own: sites behind one address would otherwise share them, since connections go to addresses."""
    cookie = OK + b"set-cookie: who=first; path=/; max-age=9999\r\n"
    raw.pages["/a"] = raw.pages["/b"] = lambda _, w: whole(w, b"words", cookie)
    async with searching(tmp_path, raw, keep_seconds=0) as environment:
        for path in ("/a", "/b", "/a"):
            assert (await visited(environment, raw.url(path)))[0] is False
    assert [head for head in raw.heads if "cookie" in head.lower()] == []
    assert len(raw.asked("/a")) == 2


async def test_nothing_of_the_machine_goes_along(raw: RawSite, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No proxy of the environment, no credentials of a .netrc, no header beside the six."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    raw.pages["/"] = lambda _, w: whole(w, b"words")
    async with fetcher(raw, seconds=60) as fetching:
        assert (await fetching.get(raw.url("/"))).body == b"words"
    names = [line.partition(":")[0].lower() for line in raw.heads[0].split("\r\n")[1:] if line]
    assert sorted(names) == ["accept", "accept-encoding", "connection", "host", "user-agent"]


# ------------------------------------------------------------------------------------------------- pages


def page(body: bytes, media_type: str = "text/html", charset: str | None = "utf-8") -> Fetched:
    return Fetched("http://x.test/", 200, media_type, charset, body)


@pytest.fixture(scope="module")
def readers() -> Any:
    made = Readers(1, seconds=60)
    yield made
    made.close()


HASTE = 2
LATE = f"could not be made out within {HASTE} seconds"


@pytest.fixture(scope="module")
def hasty() -> Any:
    made = Readers(1, seconds=HASTE)
    yield made
    made.close()


async def test_a_page_that_keeps_a_parser_busy_is_given_up_and_the_next_is_read(hasty: Readers) -> None:
    with pytest.raises(FetchFailed, match=LATE):
        await hasty.document(page(b"<html><body>" + b"<br/>" * 800_000), "http://x.test/")
    read = None
    async with asyncio.timeout(120):
        while read is None:
            try:
                read = await hasty.document(page(b"<title>Next</title><p>The next page is read."), "http://x.test/")
            except FetchFailed as e:
                if LATE not in str(e):  # as where the machine stands still for so long
                    raise
    assert (read.title, read.text) == ("Next", "The next page is read.")


@pytest.mark.parametrize("piece", ["<!--", "</a"])
async def test_markup_that_never_ends_keeps_no_parser_busy(readers: Readers, piece: str) -> None:
    whole = "<title>Long</title><p>The page is read.</p>" + piece * (4_000_000 // len(piece))
    read = await readers.document(page(whole.encode()), "http://x.test/")
    assert (read.title, read.text.partition("<")[0].strip()) == ("Long", "The page is read.")


@pytest.mark.parametrize(
    "charset", ["idna", "punycode", "undefined", "hex", "zlib", "utf-7", "nobody-knows", "utf-16", ""]
)
async def test_any_charset_gives_a_text(readers: Readers, charset: str) -> None:
    read = await readers.document(page(b"plain \xff\xfe words", "text/plain", charset), "http://x.test/")
    assert read.title == "http://x.test/"


async def test_a_reader_that_is_killed_costs_one_page() -> None:
    readers = Readers(1, seconds=60)
    try:
        await readers.document(page(b"<p>one"), "http://x.test/")
        (child,) = readers._all
        child.process.kill()
        with pytest.raises(FetchFailed, match="could not be made out"):
            await readers.document(page(b"<p>two"), "http://x.test/")
        assert (await readers.document(page(b"<p>three"), "http://x.test/")).text == "three"
    finally:
        readers.close()
    assert child.process.returncode is not None
    with pytest.raises(FetchFailed, match="stopping"):
        readers._read(page(b"<p>four"))
