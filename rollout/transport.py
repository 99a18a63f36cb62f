"""HTTP/1.1 as far as asking model endpoints needs it: one request at a time on each connection, answers read whole.

A general client spends several times what the bytes cost on things that no model endpoint has. What is kept: kept
connections, TLS, chunked and unbounded answers, back pressure on large bodies. What is not: cookies, redirects,
compression (never asked for), proxies, streaming.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rollout.answer import Answer, Reading, TransportError

KEEP_SECONDS = 4.0
"""How long a connection may lie idle: less than the five seconds after which common servers close one, perhaps in the
very moment that the next request is on its way."""
RESOLVED_SECONDS = 10.0
KEEPALIVE = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)] + [
    (socket.IPPROTO_TCP, getattr(socket, name), value)
    for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4))
    if hasattr(socket, name)
]
"""An answer may take many silent minutes. A host that went away meanwhile is noticed after two of them, and not after
the two hours that systems begin with, nor at the end of the call's own time; and what forgets silent connections on the
way (a NAT, a load balancer) hears of this one each minute."""


class ConnectTimeout(TransportError):
    """No connection came about in time."""


@dataclass(frozen=True)
class Origin:
    host: str
    port: int
    tls: bool = False


class Transport:
    """Connections to any number of endpoints, for one event loop. Who makes it closes it."""

    def __init__(self, keep_seconds: float = KEEP_SECONDS) -> None:
        self._keep_seconds = keep_seconds
        self._idle: dict[Origin, list[Connection]] = {}
        self._names: dict[tuple[str, int], tuple[float, asyncio.Task[Any]]] = {}
        self._tidying: asyncio.TimerHandle | None = None
        self._tls: ssl.SSLContext | None = None

    async def __aenter__(self) -> "Transport":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes what lies idle; requests in flight end by being cancelled."""
        if self._tidying is not None:
            self._tidying.cancel()
        for connection in [c for kept in self._idle.values() for c in kept]:
            connection.abort()
        self._idle.clear()
        tasks = [task for _, task in self._names.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def ask(self, origin: Origin, pieces: Iterable[bytes], connect: float) -> Answer:
        """Send a request, head and body, and read its answer. Raises `TransportError`, or `ConnectTimeout` where no
        connection came about within `connect` seconds. Cancelled, it leaves no connection behind."""
        connection = self._kept(origin)
        if connection is None:
            connection = await self._connect(origin, connect)
        try:
            answer = await connection.exchange(pieces)
        except BaseException:
            connection.abort()
            raise
        if connection.reusable:
            connection.idle_since = asyncio.get_running_loop().time()
            self._idle.setdefault(origin, []).append(connection)
            self._tidy_later()
        else:
            connection.abort()
        return answer

    def _kept(self, origin: Origin) -> "Connection | None":
        kept = self._idle.get(origin)
        while kept:
            connection = kept.pop()
            if connection.reusable:
                return connection
        return None

    def _tidy_later(self) -> None:
        if self._tidying is None:
            self._tidying = asyncio.get_running_loop().call_later(self._keep_seconds, self._tidy)

    def _tidy(self) -> None:
        """Close what has lain idle for too long."""
        self._tidying = None
        oldest = asyncio.get_running_loop().time() - self._keep_seconds
        for origin, kept in list(self._idle.items()):
            stay = [c for c in kept if c.reusable and c.idle_since > oldest]
            for connection in kept:
                if connection.idle_since <= oldest:
                    connection.abort()
            if stay:
                self._idle[origin] = stay
                self._tidy_later()
            else:
                del self._idle[origin]

    async def _connect(self, origin: Origin, seconds: float) -> "Connection":
        try:
            async with asyncio.timeout(seconds):
                return await self._open(origin)
        except TimeoutError:
            raise ConnectTimeout(f"no connection in {seconds:g} s") from None
        except (OSError, UnicodeError) as e:  # the latter of a host that no name can be
            raise TransportError(f"no connection: {type(e).__name__}: {e}") from None

    async def _open(self, origin: Origin) -> "Connection":
        """To the first of the host's addresses that takes it."""
        loop = asyncio.get_running_loop()
        tls: dict[str, Any] = {}
        if origin.tls:
            self._tls = self._tls or ssl.create_default_context()
            tls = {"ssl": self._tls, "server_hostname": origin.host}
        error = OSError(f"{origin.host} has no address")
        for family, _, _, _, address in await self._addresses(origin.host, origin.port):
            try:
                transport, connection = await loop.create_connection(
                    Connection, address[0], origin.port, family=family, **tls
                )
            except OSError as e:
                error = e
                continue
            if (sock := transport.get_extra_info("socket")) is not None:
                for level, option, value in KEEPALIVE:
                    sock.setsockopt(level, option, value)
            return connection
        raise error

    async def _addresses(self, host: str, port: int) -> list[Any]:
        """Asked once for all who want it in the next seconds: a lookup takes a thread."""
        loop = asyncio.get_running_loop()
        until, task = self._names.get((host, port), (0.0, None))
        if task is None or until < loop.time() or (task.done() and (task.cancelled() or task.exception())):
            task = loop.create_task(_lookup(host, port), name=f"look up {host}")
            self._names[host, port] = (loop.time() + RESOLVED_SECONDS, task)
        return list(await asyncio.shield(task))


async def _lookup(host: str, port: int) -> list[Any]:
    return await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)


class Connection(asyncio.Protocol):
    """One connection: a request, then its answer, then perhaps the next."""

    def __init__(self) -> None:
        self.idle_since = 0.0
        self._loop = asyncio.get_running_loop()
        self._transport: Any = None
        self._open = False
        self._keep = True
        self._answer: asyncio.Future[Answer] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._reading = Reading()

    @property
    def reusable(self) -> bool:
        return self._open and self._keep

    async def exchange(self, pieces: Iterable[bytes]) -> Answer:
        """Raises `TransportError`. An answer that comes before the request is sent ends the sending."""
        answer: asyncio.Future[Answer] = self._loop.create_future()
        self._answer = answer
        self._reading = Reading()
        try:
            for piece in pieces:
                if answer.done():
                    self._keep = False
                    break
                self._transport.write(piece)
                if self._drained is not None and not answer.done():
                    await asyncio.wait((self._drained, answer), return_when=asyncio.FIRST_COMPLETED)
            return await answer
        finally:
            self._answer = None
            if answer.done() and not answer.cancelled():
                answer.exception()  # noted, also where this was cancelled

    def abort(self) -> None:
        self._open = False
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self._open = transport, True

    def data_received(self, data: bytes) -> None:
        if self._answer is None or self._answer.done():  # nobody asked
            self.abort()
            return
        try:
            self._done(self._reading.feed(data))
        except TransportError as e:
            self._keep = False
            self._answer.set_exception(e)

    def connection_lost(self, exc: Exception | None) -> None:
        self._open = False
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        if self._answer is None or self._answer.done():
            return
        if exc is None and (whole := self._reading.ended()) is not None:
            self._done(whole)
            return
        told = "" if exc is None else f": {type(exc).__name__}: {exc}"
        self._answer.set_exception(TransportError(f"the server closed the connection before its answer ended{told}"))

    def pause_writing(self) -> None:
        self._drained = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._drained = None

    def _done(self, answer: Answer | None) -> None:
        if answer is not None and self._answer is not None:
            self._keep = self._keep and self._reading.keep
            self._answer.set_result(answer)


def header_safe(value: str) -> bool:
    """Whether a header can carry it."""
    with contextlib.suppress(UnicodeEncodeError):
        return not any(byte < 32 or byte == 127 for byte in value.encode("latin-1"))
    return False
