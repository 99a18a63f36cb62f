"""A worker process: takes statements from its socket, one at a time, until its owner hangs up or kills it.

Limits are the kernel's: no file may grow, no core is dumped, address space and open files are bounded.
"""

import ctypes
import os
import resource
import signal
import socket
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any

import orjson

from envs.sql.engine import Ask, Engine
from envs.sql.manifest import Manifest

ADDRESS_SPACE = 1536 * 1024 * 1024
RESIDENT = 1024 * 1024
"""KiB of peak memory after which a worker asks to be replaced: what one query took, the next need not pay for."""
OPEN_DATABASES = 12
OPEN_FILES = 64
HEAD = struct.Struct(">I")
BEGUN = b"!"
"""Sent before a statement runs: its time begins now, the database is open."""
PR_SET_PDEATHSIG = 1


def confine(parent: int) -> None:
    """Die with the parent, lead a session of our own, and take the resource limits."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)
    os.setsid()
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))


def serve(connection: socket.socket) -> None:
    """Answer until the other end is closed."""
    engines: OrderedDict[tuple[Any, ...], Engine] = OrderedDict()
    while (message := receive(connection)) is not None:
        reply, retire = _answer(engines, orjson.loads(message), connection)
        send(connection, (b"\x01" if retire else b"\x00") + reply)
        if retire:
            return


def _answer(
    engines: "OrderedDict[tuple[Any, ...], Engine]", message: dict[str, Any], connection: socket.socket
) -> tuple[bytes, bool]:
    try:
        engine = _engine(engines, message)
    except Exception as e:
        connection.sendall(BEGUN)
        return orjson.dumps({"ok": False, "kind": "broken", "words": f"{type(e).__name__}: {e}"}), False
    connection.sendall(BEGUN)
    try:
        reply = engine.run(Ask(**message["ask"]))
    except MemoryError:
        return orjson.dumps({"ok": False, "kind": "memory", "words": "the query ran out of memory"}), True
    except Exception as e:
        words = f"the statement could not be handled ({type(e).__name__})"
        return orjson.dumps({"ok": False, "kind": "error", "words": words}), True
    return reply, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > RESIDENT


def _engine(engines: "OrderedDict[tuple[Any, ...], Engine]", message: dict[str, Any]) -> Engine:
    key = (message["path"], message["seconds"], message["memory"])
    if key not in engines:
        path = Path(message["path"])
        manifest = Manifest.model_validate_json(path.with_suffix(".json").read_bytes())
        engines[key] = Engine(path, manifest, message["seconds"], message["memory"])
        if len(engines) > OPEN_DATABASES:
            engines.popitem(last=False)[1].close()
    engines.move_to_end(key)
    return engines[key]


def send(connection: socket.socket, data: bytes) -> None:
    connection.sendall(HEAD.pack(len(data)) + data)


def receive(connection: socket.socket) -> bytes | None:
    """None at the end of the stream."""
    head = _exactly(connection, HEAD.size)
    return None if head is None else _exactly(connection, HEAD.unpack(head)[0])


def _exactly(connection: socket.socket, count: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < count:
        part = connection.recv(min(count - len(parts), 1 << 20))
        if not part:
            return None
        parts += part
    return bytes(parts)
