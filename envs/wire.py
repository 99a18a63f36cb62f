"""Messages between a process and its owner: a length, then as many bytes."""

import socket
import struct
import time

HEAD = struct.Struct(">I")
PIECE = 1 << 18


def send(connection: socket.socket, data: bytes, deadline: float | None = None) -> None:
    """Raises `TimeoutError` past the deadline (of the monotonic clock)."""
    connection.settimeout(_left(deadline))
    connection.sendall(HEAD.pack(len(data)) + data)


def receive(connection: socket.socket, deadline: float | None = None, limit: int = 1 << 32) -> bytes:
    """One message. Messages are never sent ahead, so a read may take what there is. Raises `EOFError` where the other
    end was closed or the message is longer than `limit`, and `TimeoutError`."""
    parts = bytearray()
    wanted = HEAD.size
    while len(parts) < wanted:
        connection.settimeout(_left(deadline))
        part = connection.recv(PIECE)
        if not part:
            raise EOFError
        parts += part
        if wanted == HEAD.size and len(parts) >= HEAD.size:
            wanted += HEAD.unpack_from(parts)[0]
            if wanted > limit:
                raise EOFError
    return bytes(memoryview(parts)[HEAD.size :])


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.001, deadline - time.monotonic())
