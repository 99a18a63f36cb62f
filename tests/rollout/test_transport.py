"""The HTTP client against servers that answer byte by byte as a test says."""

import asyncio
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from rollout.answer import Answer, Reading, TransportError
from rollout.transport import ConnectTimeout, Origin, Transport, header_safe
from tests.ports import free_port

ASK = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
CONNECT = 60.0
"""Seconds for a connection: no end that a test means to see, be it on a machine whose name server is away."""


@dataclass
class Server:
    """Gives each request (as many bytes as `ASK`) the next of `answers`; closes the connection behind None."""

    answers: list[bytes | None]
    connections: int = 0
    closed: int = 0
    origin: Origin = field(default_factory=lambda: Origin("127.0.0.1", 0))
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        try:
            while self.answers:
                await reader.readexactly(len(ASK))
                answer = self.answers.pop(0)
                if answer is None:
                    return
                writer.write(answer)
            await reader.read()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.closed += 1
            writer.close()


Serve = Callable[..., Awaitable[Server]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    listening: list[asyncio.Server] = []

    async def start(*answers: bytes | None, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> Server:
        server = Server([*answers])
        listening.append(await asyncio.start_server(server, "127.0.0.1", 0, ssl=tls))
        server.origin = Origin(host, listening[-1].sockets[0].getsockname()[1], tls is not None)
        return server

    yield start
    for server in listening:
        server.close()


async def until(told: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not told():  # noqa: ASYNC110 - a server has no event for it
            await asyncio.sleep(0.005)


def reading(*parts: bytes) -> Answer | None:
    """What these bytes, as they come in, are; the connection ends after them."""
    state = Reading()
    for part in parts:
        if (answer := state.feed(part)) is not None:
            return answer
    return state.ended()


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
WHOLE = (
    OK,
    CHUNKED + b"2\r\nhi\r\n0\r\n\r\n",
    CHUNKED + b"1;a=b\r\nh\r\n01 \r\ni\r\n0\r\nTrailer: x\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK,
    b"HTTP/1.1 200 OK\r\n\r\nhi",
    b"HTTP/1.0 200 OK\r\n\r\nhi",
    b"HTTP/1.1 200\r\ncontent-length:2\r\n\r\nhi",
)


@pytest.mark.parametrize("data", WHOLE)
def test_an_answer_is_the_same_however_it_is_cut_up(data: bytes) -> None:
    cuts = [reading(data), reading(*(data[i : i + 1] for i in range(len(data))))]
    cuts += [reading(data[:i], data[i:]) for i in range(1, len(data))]
    assert {(a.status, a.body) if a else None for a in cuts} == {(200, b"hi")}


@pytest.mark.parametrize("data", WHOLE[:4])
def test_an_answer_that_is_cut_off_is_none(data: bytes) -> None:
    assert [reading(data[:i]) for i in range(1, len(data))] == [None] * (len(data) - 1)


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 20x OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno header\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nhi",
        CHUNKED + b"-2\r\nhi\r\n0\r\n\r\n",
        CHUNKED + b"0x2\r\nhi\r\n0\r\n\r\n",
        CHUNKED + b"\r\nhi\r\n0\r\n\r\n",
        CHUNKED + b"2\r\nhixx0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"b" * (1 << 17),
    ],
)
def test_what_is_no_answer_is_refused(data: bytes) -> None:
    with pytest.raises(TransportError):
        reading(data)
    with pytest.raises(TransportError):
        reading(*(data[i : i + 1] for i in range(len(data)))) if len(data) < 999 else reading(data[:-1], data[-1:])


@pytest.mark.parametrize(
    "head", [CHUNKED + b"fff\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 4095\r\n\r\n"]
)
def test_an_answer_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch, head: bytes) -> None:
    end = b"\r\n0\r\n\r\n" if head.startswith(CHUNKED) else b""
    parts = [head, *([b"x" * 91] * 45), end]
    whole = reading(*parts)
    assert whole is not None
    assert whole.body == b"x" * 4095
    monkeypatch.setattr("rollout.answer.BODY_BYTES", 4094)
    with pytest.raises(TransportError, match="longer than"):
        reading(*parts)


def test_headers_are_found_by_lower_case_names() -> None:
    answer = reading(b"HTTP/1.1 429 Slow down\r\nRETRY-After: 7\r\nX: 1\r\nx: 2\r\nContent-Length: 0\r\n\r\n")
    assert answer == Answer(429, {b"retry-after": b"7", b"x": b"1, 2", b"content-length": b"0"}, b"")
    assert (answer.header(b"retry-after"), answer.header(b"y")) == ("7", None)


async def test_a_connection_is_kept_for_the_next_request(serve: Serve) -> None:
    server = await serve(OK, CHUNKED + b"2\r\nhi\r\n0\r\n\r\n", b"HTTP/1.1 204 No\r\n\r\n", OK)
    async with Transport() as http:
        told = [(await http.ask(server.origin, [ASK], CONNECT)).status for _ in range(4)]
        assert (told, server.connections) == ([200, 200, 204, 200], 1)
    await until(lambda: server.closed == 1)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        OK + b"and more",
    ],
)
async def test_a_connection_that_may_not_be_kept_is_closed(serve: Serve, answer: bytes) -> None:
    server = await serve(answer, OK)
    async with Transport() as http:
        told = [(await http.ask(server.origin, [ASK], CONNECT)).body for _ in range(2)]
        assert (told, server.connections) == ([b"hi", b"hi"], 2)
        await until(lambda: server.closed == 1)


async def test_a_connection_that_the_server_closed_meanwhile_is_not_used(serve: Serve) -> None:
    server = await serve(OK, OK)
    async with Transport() as http:
        await http.ask(server.origin, [ASK], CONNECT)
        server.writers[0].close()
        await until(lambda: server.closed == 1)
        assert (await http.ask(server.origin, [ASK], CONNECT)).body == b"hi"
    assert server.connections == 2


async def test_what_nobody_asked_for_is_no_answer_to_the_next_request(serve: Serve) -> None:
    server = await serve(OK, OK.replace(b"hi", b"yo"))
    async with Transport() as http:
        await http.ask(server.origin, [ASK], CONNECT)
        server.writers[0].write(OK)
        await until(lambda: server.closed == 1)
        assert (await http.ask(server.origin, [ASK], CONNECT)).body == b"yo"


async def test_a_server_that_closes_without_an_answer_is_told(serve: Serve) -> None:
    server = await serve(None)
    async with Transport() as http:
        with pytest.raises(TransportError, match="closed the connection before its answer ended"):
            await http.ask(server.origin, [ASK], CONNECT)


async def test_a_cancelled_request_leaves_no_connection(serve: Serve) -> None:
    server = await serve(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
    async with Transport() as http:
        asking = asyncio.create_task(http.ask(server.origin, [ASK], CONNECT))
        await until(lambda: not server.answers)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await until(lambda: server.closed == 1)


async def test_a_large_request_waits_for_its_reader() -> None:
    """No more than a piece beyond the transport's high water mark is handed to it at once."""
    waiting: list[int] = []
    read = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read.wait()
        await reader.readexactly(200 << 16)
        writer.write(OK)

    async with await asyncio.start_server(slow, "127.0.0.1", 0) as server, Transport() as http:

        def pieces() -> Iterator[bytes]:
            for i in range(200):
                waiting.append(i)
                yield bytes(1 << 16)

        origin = Origin("127.0.0.1", server.sockets[0].getsockname()[1])
        asking = asyncio.create_task(http.ask(origin, pieces(), CONNECT))
        await until(lambda: bool(waiting))
        await asyncio.sleep(0.2)
        assert len(waiting) < 200
        read.set()
        assert (await asking).body == b"hi"
        assert len(waiting) == 200


async def test_an_answer_before_the_request_was_sent_ends_the_sending() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 413 Too large\r\nContent-Length: 0\r\n\r\n")
        await reader.read()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0, limit=1) as server, Transport() as http:
        origin = Origin("127.0.0.1", server.sockets[0].getsockname()[1])
        answer = await http.ask(origin, (bytes(1 << 16) for _ in range(10_000)), CONNECT)
    assert answer.status == 413


async def test_nobody_listening_and_no_such_host_are_told() -> None:
    async with Transport() as http:
        with pytest.raises(TransportError, match="no connection: ConnectionRefusedError"):
            await http.ask(Origin("127.0.0.1", free_port()), [ASK], CONNECT)
        for _ in range(2):
            with pytest.raises(TransportError, match="no connection: gaierror"):
                await http.ask(Origin("nobody.invalid", 80), [ASK], CONNECT)


async def test_a_connection_that_does_not_come_about_is_a_connect_timeout() -> None:
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for client in (first, second):
            client.setblocking(False)
            client.connect_ex(full.getsockname())
        async with Transport() as http:
            with pytest.raises(ConnectTimeout, match=r"no connection in 0.05 s"):
                await http.ask(Origin(*full.getsockname()), [ASK], 0.05)


def certificate(folder: Path, host: str) -> tuple[Path, Path]:
    key, cert = folder / "key.pem", folder / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}", "-days", "2"]
    subprocess.run([*command, *names, "-keyout", key, "-out", cert], check=True, capture_output=True)
    return key, cert


async def test_tls_is_spoken_and_the_certificate_checked(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, cert = certificate(tmp_path, "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    server = await serve(OK, tls=context, host="localhost")
    async with Transport() as http:
        with pytest.raises(TransportError, match="SSLCertVerificationError"):
            await http.ask(server.origin, [ASK], CONNECT)
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    async with Transport() as http:
        assert (await http.ask(server.origin, [ASK], CONNECT)).body == b"hi"
        with pytest.raises(TransportError, match="SSLCertVerificationError"):
            await http.ask(Origin("127.0.0.1", server.origin.port, tls=True), [ASK], CONNECT)


async def test_what_lies_idle_for_long_is_closed(serve: Serve) -> None:
    server = await serve(OK)
    async with Transport(keep_seconds=0.05) as http:
        await http.ask(server.origin, [ASK], CONNECT)
        await until(lambda: server.closed == 1)


def test_a_header_carries_no_line_end() -> None:
    assert [header_safe(v) for v in ("sk-1", "é", "a\r\nb", "a\nb", "\x7f", "\N{SNOWMAN}")] == [
        True,
        True,
        False,
        False,
        False,
        False,
    ]


def timers_of(port: int) -> list[list[str]]:
    """Of the connections to it: the timer that runs, and what is left of it in hundredths of a second."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [row[5].split(":") for row in rows if row[2].endswith(f":{port:04X}")]


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="Linux tells of its timers")
async def test_a_host_that_goes_away_while_it_is_asked_is_noticed_within_minutes(serve: Serve) -> None:
    server = await serve(OK)
    async with Transport() as http:
        await http.ask(server.origin, [ASK], CONNECT)
        ((kind, hundredths),) = timers_of(server.origin.port)
    assert kind == "02", "no keepalive timer runs"
    assert int(hundredths, 16) <= 60 * 100
