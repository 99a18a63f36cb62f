"""A worker process: takes statements from its socket, one at a time, until its owner hangs up or kills it.

Limits are the kernel's: no file may grow, no core is dumped, address space and open files are bounded.
"""

import ctypes
import os
import resource
import signal
import socket
from collections import OrderedDict
from pathlib import Path
from typing import Any

import orjson

from envs.sql.engine import Ask, Engine, EngineBroken
from envs.sql.manifest import Manifest
from envs.wire import receive, send

ADDRESS_SPACE = 1536 * 1024 * 1024
RESIDENT = 1024 * 1024
"""KiB of peak memory after which a worker asks to be replaced: what one query took, the next need not pay for."""
OPEN_DATABASES = 12
OPEN_FILES = 64
OPEN, RUN = b"o", b"r"
PR_SET_PDEATHSIG = 1
Engines = OrderedDict[tuple[Any, ...], Engine]


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
    """Answer until the other end is closed. A message is `OPEN` or `RUN` and the JSON of a statement: the first only
    makes the database ready, so that what that takes is not taken from the statement's time."""
    engines: Engines = OrderedDict()
    while True:
        try:
            message = receive(connection)
        except EOFError:
            return
        reply, retire = _answer(engines, message[:1], orjson.loads(message[1:]))
        send(connection, (b"\x01" if retire else b"\x00") + reply)
        if retire:
            return


def _answer(engines: Engines, verb: bytes, message: dict[str, Any]) -> tuple[bytes, bool]:
    try:
        engine = _engine(engines, message)
        if verb == OPEN:
            engine.open(message["ask"]["dialect"])
            return b"", False
    except Exception as e:
        return orjson.dumps({"ok": False, "kind": "broken", "words": f"{type(e).__name__}: {e}"}), False
    try:
        reply = engine.run(Ask(**message["ask"]))
    except MemoryError:
        return orjson.dumps({"ok": False, "kind": "memory", "words": "the query ran out of memory"}), True
    except EngineBroken:
        words = "the query hit a fault of the engine's own; ask in another way"
        return orjson.dumps({"ok": False, "kind": "crashed", "words": words}), True
    except Exception as e:
        words = f"the statement could not be handled ({type(e).__name__})"
        return orjson.dumps({"ok": False, "kind": "error", "words": words}), True
    return reply, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > RESIDENT


def _engine(engines: Engines, message: dict[str, Any]) -> Engine:
    key = (message["path"], message["seconds"], message["memory"])
    if key not in engines:
        path = Path(message["path"])
        manifest = Manifest.model_validate_json(path.with_suffix(".json").read_bytes())
        engines[key] = Engine(path, manifest, message["seconds"], message["memory"])
        if len(engines) > OPEN_DATABASES:
            engines.popitem(last=False)[1].close()
    engines.move_to_end(key)
    return engines[key]
