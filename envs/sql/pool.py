"""Workers for one environment: forked on demand, reused, killed at a deadline, replaced after a crash.

The pool outlives no owner: when the process that made it ends, however it ends, every worker ends. Blocking and
safe to call from several threads; `submit` is the same for async callers.
"""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

import orjson

from envs.errors import EnvironmentFailure, SandboxError
from envs.sql.connection import MEMORY
from envs.sql.engine import Ask
from envs.sql.reply import Failed, Reply, parse_reply
from envs.sql.worker import OPEN, RUN
from envs.wire import receive, send

START_SECONDS = 30
OPEN_SECONDS = 10
"""What starting a worker and opening a database may take, before a statement's time begins."""
GRACE = 0.5
"""How long after its time a statement that DuckDB can interrupt may take to end."""
MAX_REPLY = 64 * 1024 * 1024
_BOOT = "import json,sys;sys.path[:]=json.loads(sys.argv[1]);from envs.sql.zygote import main;main({fd},{owner})"


class WorkerGone(Exception):
    """The worker ended before it answered."""


@dataclass(eq=False)
class Worker:
    """One process and our end of its socket."""

    pid: int
    socket: socket.socket
    home: int
    """Pid of the process that forked it."""
    last: tuple[str, str | None]
    """Database and dialect of its last statement: it still has them open."""
    used: bool = False
    """Whether it has run a statement before this one."""
    warm: bool = False
    """Whether it has the database of this statement open."""


@dataclass
class Ticket:
    """One statement under way; `cancel` from any thread ends it by killing its worker."""

    cancelled: bool = False
    worker: Worker | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(eq=False)
class _Zygote:
    process: subprocess.Popen[bytes]
    control: socket.socket
    errors: IO[bytes]
    owner: int

    @property
    def alive(self) -> bool:
        return self.owner == os.getpid() and self.process.poll() is None


class Pool:
    def __init__(self, size: int = 0, idle: int = 16, seconds: float = 30, memory: str = MEMORY) -> None:
        """`size`: statements that run at once (0: one for each core, at least two); `idle`: processes kept waiting;
        `seconds`: time for one statement."""
        self.size = size or max(2, os.cpu_count() or 2)
        self.seconds = seconds
        self._memory = memory
        self._keep = idle
        self._idle: list[Worker] = []
        self._zygote: _Zygote | None = None
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(self.size)
        self._threads: ThreadPoolExecutor | None = None
        self._closed = False

    async def submit(self, path: Path, ask: Ask, seconds: float | None = None) -> tuple[Reply, float]:
        """The reply, and the seconds that the statement took, waiting for a slot not counted."""
        with self._lock:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(self.size, thread_name_prefix="trajc-sql")
            threads = self._threads
        ticket = Ticket()
        try:
            return await asyncio.get_running_loop().run_in_executor(threads, self.run, path, ask, seconds, ticket)
        except asyncio.CancelledError:
            self._cancel(ticket)
            raise

    def run(
        self, path: Path, ask: Ask, seconds: float | None = None, ticket: Ticket | None = None
    ) -> tuple[Reply, float]:
        """As `submit`. Raises `EnvironmentFailure` where the database cannot be opened, `SandboxError` where no
        worker can be started; a statement that crashes or outstays its worker is a `Failed` reply."""
        limit = min(self.seconds, seconds) if seconds else self.seconds
        message = orjson.dumps({"path": str(path), "seconds": self.seconds, "memory": self._memory, "ask": asdict(ask)})
        ticket = ticket or Ticket()
        with self._slots:
            began = time.monotonic()
            reply = self._run_once(message, (str(path), ask.dialect), limit, ticket)
            took = time.monotonic() - began
        if isinstance(reply, Failed) and reply.kind == "broken":
            raise EnvironmentFailure(f"database {path.name} could not be opened: {reply.words}")
        return reply, took

    def close(self) -> None:
        """End every worker. May be called twice."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            zygote, self._zygote = self._zygote, None
            threads, self._threads = self._threads, None
        for worker in idle:
            worker.socket.close()
        if zygote is not None:
            _end(zygote)
        if threads is not None:
            threads.shutdown(wait=False, cancel_futures=True)

    def _run_once(self, message: bytes, wanted: tuple[str, str | None], limit: float, ticket: Ticket) -> Reply:
        renew = False
        deadline = time.monotonic() + limit
        while True:
            worker = self._take(wanted, renew)
            with ticket.lock:
                ticket.worker = worker
                if ticket.cancelled:
                    self._discard(worker)
                    return Failed("timeout", "the call was cancelled")
            try:
                data = _ask(worker, message, deadline - time.monotonic() if renew else limit)
            except TimeoutError:
                self._discard(worker)
                return Failed("timeout", f"the query did not end within {limit:g} seconds and was stopped")
            except WorkerGone:
                orphaned = self._orphaned(worker)
                self._discard(worker)
                if orphaned and not ticket.cancelled:
                    continue
                return Failed("crashed", "the query used more memory than it may, or crashed the engine")
            finally:
                with ticket.lock:
                    ticket.worker = None
            self._give(worker, retire=data[:1] == b"\x01")
            reply = parse_reply(data[1:])
            in_time = time.monotonic() < deadline
            if isinstance(reply, Failed) and reply.kind == "memory" and worker.used and not renew and in_time:
                # What earlier statements left behind may have been in the way: what a query gets must not hang on that.
                renew = True
                continue
            return reply

    def _cancel(self, ticket: Ticket) -> None:
        with ticket.lock:
            ticket.cancelled = True
            if ticket.worker is not None:
                self._kill(ticket.worker)

    def _take(self, wanted: tuple[str, str | None], renew: bool) -> Worker:
        """A worker; one that has the database open already, if there is one."""
        with self._lock:
            if self._closed:
                raise SandboxError("the SQL workers were closed")
            if self._zygote is None or not self._zygote.alive:
                self._restart()
            if self._idle and not renew:
                worker = next((w for w in reversed(self._idle) if w.last == wanted), self._idle[-1])
                self._idle.remove(worker)
                worker.warm, worker.last, worker.used = worker.last == wanted, wanted, True
                return worker
            assert self._zygote is not None
            return _fork(self._zygote, wanted)

    def _orphaned(self, worker: Worker) -> bool:
        """Whether the worker ended because its parent had, and not by its own doing."""
        with self._lock:
            return not self._closed and (
                self._zygote is None or not self._zygote.alive or worker.home != self._zygote.process.pid
            )

    def _restart(self) -> None:
        """Called with the lock held."""
        for worker in self._idle:
            worker.socket.close()
        self._idle.clear()
        if self._zygote is not None and self._zygote.owner == os.getpid():
            _end(self._zygote)
        self._zygote = _start_zygote()

    def _give(self, worker: Worker, retire: bool) -> None:
        with self._lock:
            if not retire and not self._closed and len(self._idle) < self._keep:
                self._idle.append(worker)
                return
        worker.socket.close()

    def _discard(self, worker: Worker) -> None:
        self._kill(worker)
        worker.socket.close()

    def _kill(self, worker: Worker) -> None:
        with self._lock:
            if self._zygote is not None and self._zygote.alive and worker.home == self._zygote.process.pid:
                with contextlib.suppress(OSError):
                    self._zygote.control.send(b"kill %d" % worker.pid)


def _ask(worker: Worker, message: bytes, limit: float) -> bytes:
    """The worker's answer. Raises `TimeoutError` or `WorkerGone`."""
    try:
        if not worker.warm:
            send(worker.socket, OPEN + message, time.monotonic() + OPEN_SECONDS)
            receive(worker.socket, time.monotonic() + OPEN_SECONDS)
        deadline = time.monotonic() + limit + GRACE
        send(worker.socket, RUN + message, deadline)
        return receive(worker.socket, deadline, MAX_REPLY)
    except TimeoutError:
        raise
    except (OSError, EOFError) as e:
        raise WorkerGone from e


def _fork(zygote: _Zygote, wanted: tuple[str, str | None]) -> Worker:
    ours, theirs = socket.socketpair()
    try:
        socket.send_fds(zygote.control, [b"fork"], [theirs.fileno()])
        answer = zygote.control.recv(32)
        if not answer:
            raise SandboxError(f"no SQL worker could be started: {_last_words(zygote)}")
        return Worker(pid=int(answer), socket=ours, home=zygote.process.pid, last=wanted)
    except OSError as e:
        ours.close()
        raise SandboxError(f"no SQL worker could be started: {e}") from e
    finally:
        theirs.close()


def _start_zygote() -> _Zygote:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    errors = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the process)
    boot = _BOOT.format(fd=theirs.fileno(), owner=os.getpid())
    # Nothing of our environment goes along: no credential of the service is in a process that runs others' SQL.
    # One malloc arena: each further one reserves 64 MiB of the address space that a worker's limit bounds.
    environment = {"LANG": "C.UTF-8", "TZ": "UTC", "MALLOC_ARENA_MAX": "1"}
    try:
        process = subprocess.Popen(
            [sys.executable, "-I", "-c", boot, orjson.dumps([os.path.abspath(p) for p in sys.path]).decode()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env=environment,
            cwd="/",
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
        )
    except OSError as e:
        ours.close()
        raise SandboxError(f"no process for SQL workers could be started: {e}") from e
    finally:
        theirs.close()
    zygote = _Zygote(process, ours, errors, os.getpid())
    ours.settimeout(START_SECONDS)
    try:
        if ours.recv(16) == b"ready":
            return zygote
        words = _last_words(zygote)
    except OSError as e:
        words = str(e)
    _end(zygote)
    raise SandboxError(f"the process for SQL workers did not start: {words}")


def _last_words(zygote: _Zygote) -> str:
    zygote.errors.seek(0)
    lines = zygote.errors.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else "it ended without a word"


def _end(zygote: _Zygote) -> None:
    zygote.control.close()
    with contextlib.suppress(OSError):
        zygote.process.send_signal(signal.SIGKILL)
    zygote.process.wait()
    zygote.errors.close()
