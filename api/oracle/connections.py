"""Resetting a TCP connection from inside an ASGI application.

ASGI has no word for it, so the protocol that uvicorn runs keeps its transport where a request can find it:
by the client's address.
"""

import asyncio
import socket
import struct
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

_TRANSPORTS: dict[tuple[str, int], asyncio.Transport] = {}


class OracleProtocol(H11Protocol):
    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if self.client:
            _TRANSPORTS[self.client] = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self.client:
            _TRANSPORTS.pop(self.client, None)
        super().connection_lost(exc)


class Reset(Response):
    """No bytes: the client sees its connection reset."""

    def __init__(self, client: tuple[str, int] | None) -> None:
        super().__init__()
        self.client = client

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        transport = _TRANSPORTS.get(self.client) if self.client else None
        if transport is None:
            raise ConnectionError("the oracle resets connections only under its own server")
        if (raw := transport.get_extra_info("socket")) is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
        await asyncio.sleep(0)
        # The connection is lost by now: this reaches nobody, but uvicorn takes a missing response for a bug.
        await super().__call__(scope, receive, send)


def reset(request: Request) -> Reset:
    return Reset((request.client.host, request.client.port) if request.client else None)
