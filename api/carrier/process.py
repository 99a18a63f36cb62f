"""What a worker process holds: one event loop in a thread of its own, and one engine on it.

Celery's tasks are plain functions that block a cheap thread until the engine is done with their job. Every job of the
process runs on the one loop, so that clients which jobs share stay on the loop that they were made on.
"""

import asyncio
import logging
import os
import signal
import threading
from concurrent.futures import CancelledError

from api.service import open_service
from api.settings import Settings
from api.work import AtWork, Compiles, at_work
from api.worker_name import worker_name
from rollout.runs import JobKind

log = logging.getLogger(__name__)


class WorkerProcess:
    """`start` returns when it can work; `stop` may be called from anywhere, a signal handler included."""

    def __init__(self, settings: Settings, kind: JobKind, concurrency: int, compiles: Compiles) -> None:
        self.settings = settings
        self.kind = kind
        self.concurrency = concurrency
        self.compiles = compiles
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop
        self._at_work: AtWork | None = None
        self._stopping: asyncio.Event
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        """Raises what kept the engine from starting."""
        self._thread.start()
        self._ready.wait()
        if self._error is not None:
            raise self._error
        log.info("%s is at work: %s, %d at once", worker_name(), self.kind, self.concurrency)

    def work(self, job: str, attempt: int) -> None:
        """Blocks until the job is done, handed back, or found to be none of ours."""
        if self._at_work is None or self._loop.is_closed():
            return
        taking = asyncio.run_coroutine_threadsafe(self._at_work.engine.take(job, attempt, self.kind), self._loop)
        try:
            taking.result()
        except CancelledError:
            log.info("%s attempt %d: left when the worker ended", job, attempt)

    def stop(self) -> None:
        """Claim nothing more; jobs in flight end within the grace period, or are handed back."""
        if self._at_work is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stopping.set)

    def join(self, seconds: float) -> None:
        self._thread.join(seconds)

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as e:
            self._error = e
            if self._ready.is_set():
                log.critical("the engine broke: this worker ends", exc_info=e)
                os.kill(os.getpid(), signal.SIGTERM)
        finally:
            self._ready.set()

    async def _main(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        with open_service(self.settings) as service:
            concurrency = {self.kind: self.concurrency}
            async with at_work(service, concurrency, carried=True, compiles=self.compiles) as self._at_work:
                self._ready.set()
                asked = asyncio.create_task(self._stopping.wait())
                await asyncio.wait({asked, self._at_work.working}, return_when=asyncio.FIRST_COMPLETED)
                asked.cancel()
            self._at_work.working.result()


_held: WorkerProcess | None = None


def hold(process: WorkerProcess) -> None:
    """Start it, as the one of this process."""
    global _held
    process.start()
    _held = process


def held() -> WorkerProcess | None:
    return _held


def worked(job: str, attempt: int) -> None:
    """The one Celery task: work on what the message names."""
    if _held is None:
        raise RuntimeError("this Celery worker holds no engine: start it with `trajc worker`")
    _held.work(job, attempt)
