"""Pages become text in processes of their own, which can be killed.

Markup is hostile: a few megabytes of `<!--` keep a parser busy for hours, and a parser in C may crash. So a page is
read by a child process that has a deadline, bounded memory, no environment and no file that may grow.
"""

import asyncio
import contextlib
import ctypes
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import orjson

from envs.search.document import Document
from envs.search.web.extract import TEXT_TYPES, extract
from envs.search.web.fetch import Fetched, FetchFailed
from envs.wire import receive, send

START_SECONDS = 60.0
ADDRESS_SPACE = 2 * 1024**3
_BOOT = "import json,sys;sys.path[:]=json.loads(sys.argv[1]);from envs.search.web.reader import main;main({fd},{owner})"
_PR_SET_PDEATHSIG = 1


@dataclass(eq=False)
class _Child:
    process: subprocess.Popen[bytes]
    socket: socket.socket

    def kill(self) -> None:
        with contextlib.suppress(OSError):
            self.process.kill()
        self.process.wait()
        self.socket.close()


class Readers:
    """As many children as `count`, started when they are needed and anew after a page that one of them died of."""

    def __init__(self, count: int, seconds: float) -> None:
        """`seconds`: for one page."""
        self._seconds = seconds
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="trajc-pages")
        self._idle: list[_Child] = []
        self._all: set[_Child] = set()
        self._lock = threading.Lock()
        self._closed = False

    async def document(self, page: Fetched, asked: str) -> Document:
        """The page under the URL it was asked for. Raises `FetchFailed` for an error status, a kind of file that holds
        no text for us, and a page that cannot be read in time."""
        if page.status >= 400:
            raise FetchFailed(f"the server answered {page.status}")
        if page.media_type not in TEXT_TYPES and not page.media_type.startswith("text/"):
            raise FetchFailed(f"it is a {page.media_type[:80]} file, which cannot be read as text")
        title, text = await asyncio.get_running_loop().run_in_executor(self._threads, self._read, page)
        return Document(asked, title or asked, text, page.url)

    def close(self) -> None:
        """End the children; pages that are being read fail. May be called twice."""
        with self._lock:
            self._closed = True
            children, self._all = self._all, set()
            self._idle.clear()
        for child in children:
            child.kill()
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _read(self, page: Fetched) -> tuple[str, str]:
        message = orjson.dumps([page.url, page.media_type, page.charset]) + b"\n" + page.body
        child = self._take()
        try:
            deadline = time.monotonic() + self._seconds
            send(child.socket, message, deadline)
            answer = orjson.loads(receive(child.socket, deadline))
        except TimeoutError:
            self._drop(child)
            raise FetchFailed(f"its text could not be made out within {self._seconds:g} seconds") from None
        except (OSError, EOFError):
            self._drop(child)
            raise FetchFailed("its text could not be made out") from None
        with self._lock:
            self._idle.append(child)
        if answer is None:
            raise FetchFailed("its text could not be made out")
        return answer[0], answer[1]

    def _take(self) -> _Child:
        with self._lock:
            if self._closed:
                raise FetchFailed("the service is stopping")
            if self._idle:
                return self._idle.pop()
        child = _start()
        with self._lock:
            self._all.add(child)
        return child

    def _drop(self, child: _Child) -> None:
        with self._lock:
            self._all.discard(child)
        child.kill()


def _start() -> _Child:
    """Raises `FetchFailed` where no process can be started."""
    ours, theirs = socket.socketpair()
    boot = _BOOT.format(fd=theirs.fileno(), owner=os.getpid())
    path = orjson.dumps([os.path.abspath(p) for p in sys.path]).decode()
    quiet = subprocess.DEVNULL
    try:
        process = subprocess.Popen(
            [sys.executable, "-I", "-c", boot, path],
            stdin=quiet,
            stdout=quiet,
            stderr=quiet,
            env={"LANG": "C.UTF-8"},
            cwd="/",
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
        )
        theirs.close()
        child = _Child(process, ours)
        receive(ours, time.monotonic() + START_SECONDS)
    except (OSError, EOFError) as e:
        ours.close()
        raise FetchFailed(f"no process to read it could be started ({type(e).__name__})") from None
    return child


def main(descriptor: int, owner: int) -> None:
    """A child: reads pages from the socket `descriptor` until the other end is closed or the owner is gone."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != owner:
        return
    import trafilatura  # noqa: F401  (takes half a second: before the first page's time begins)

    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    connection = socket.socket(fileno=descriptor)
    send(connection, b"ready")
    with contextlib.suppress(EOFError, OSError):
        while True:
            head, _, body = receive(connection).partition(b"\n")
            url, media_type, charset = orjson.loads(head)
            try:
                answer = orjson.dumps(extract(url, media_type, charset, body))
            except Exception:  # whatever a parser raises on what was made to break it
                answer = b"null"
            send(connection, answer)
