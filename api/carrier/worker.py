"""`trajc worker`: a Celery worker around an engine.

Rollouts and model calls wait, so theirs are threads around one loop and one engine. Compilations compute, so theirs
are processes: each child makes its loop, its store and its engine after the fork, since none of these survives one.
"""

import logging
import os
import signal
import socket
import sys
import warnings
from dataclasses import dataclass
from typing import Any, Literal

from celery import signals
from celery.apps.worker import Worker
from celery.platforms import SecurityWarning
from celery.worker import state

from api.carrier.app import QUEUES, application
from api.carrier.compiling import compile_here
from api.carrier.process import WorkerProcess, held, hold
from api.carrier.watch import Watch
from api.compile_jobs import compile_claim
from api.deadline import end_by
from api.settings import Settings
from rollout.engine import Timing
from rollout.runs import JobKind

log = logging.getLogger(__name__)

Work = Literal["rollouts", "generation", "compile"]
LAST_SECONDS = 2.0
"""What a process may take to end after its engine, and a worker after its children."""
KINDS: dict[Work, JobKind] = {"rollouts": "rollout", "generation": "generation", "compile": "compile_shard"}


def run_worker(settings: Settings, work: Work, concurrency: int) -> int:
    """Blocks until SIGTERM or SIGINT, then hands back what does not end within the grace. A second signal ends it at
    once, and what it held is taken back when its leases run out. Returns the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    # Celery names each message that it receives and acknowledges; what became of the job is the engine's to say.
    for talkative in ("celery", "httpx", "alembic"):
        logging.getLogger(talkative).setLevel(logging.WARNING)
    signals.setup_logging.connect(keep_logging, weak=False)
    # Celery warns of running as root, for the sake of pickled messages; ours are JSON and name two ids.
    warnings.simplefilter("ignore", SecurityWarning)
    kind = KINDS[work]
    watch = Watch()
    ending = Ending(watch, at_most(settings))
    ending.listen()  # before there is an engine: from its first moment on it may hold jobs
    if work == "compile":
        children_hold(settings, kind, watch)
    else:
        hold(WorkerProcess(settings, kind, concurrency, compile_claim))
    worker = Hands(
        app=application(),
        hostname=f"{work}-{os.getpid()}@{socket.gethostname()}",
        queues=[QUEUES[kind]],
        pool="prefork" if work == "compile" else "threads",
        concurrency=concurrency,
        loglevel="WARNING",
        quiet=True,
        # Workers need not know of each other, and talk among many of them is what stalls after a lost connection.
        without_gossip=True,
        without_mingle=True,
    )
    worker.ending = ending
    try:
        worker.start()
    finally:
        if (process := held()) is not None:
            process.stop()
            process.join(at_most(settings))
    return int(worker.exitcode or 0)


def at_most(settings: Settings) -> float:
    """Seconds that an engine may take to end."""
    return settings.shutdown_seconds + Timing.close + 5


def keep_logging(**_: Any) -> None:
    """That this signal has a receiver keeps Celery from setting up logging anew, in the worker and in its children."""


@dataclass(frozen=True)
class Ending:
    """What signals do to a worker."""

    watch: Watch
    seconds: float
    """What its engine may take to end."""

    def listen(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, self)

    def __call__(self, number: int, _: Any) -> None:
        if state.should_stop is not None:
            os.write(sys.stderr.fileno(), b"a second signal: ending at once\n")
            os._exit(128 + number)
        # Before anything else: a second signal may arrive while this is still at work for the first.
        state.should_stop = 0
        os.write(sys.stderr.fileno(), b"ending: jobs in flight are ended or handed back\n")
        if (process := held()) is not None:
            process.stop()
        self.watch.tell()
        end_by(self.seconds + 2 * LAST_SECONDS)


class Hands(Worker):  # type: ignore[misc]
    """Celery's worker with our way to end."""

    ending: Ending

    def install_platform_tweaks(self, worker: Any) -> None:
        """Celery's own handlers either wait for tasks for ever or drop them."""
        super().install_platform_tweaks(worker)
        self.ending.listen()


def children_hold(settings: Settings, kind: JobKind, watch: Watch) -> None:
    """Each child that the pool forks, now or later, holds an engine of its own for one job at a time."""

    def begin(**_: Any) -> None:
        process = WorkerProcess(settings, kind, 1, compile_here)
        hold(process)

        def told() -> None:
            end_by(at_most(settings) + LAST_SECONDS)
            process.stop()

        watch.when_told(told)

    def end(**_: Any) -> None:
        if (process := held()) is not None:
            process.stop()
            process.join(at_most(settings))

    signals.worker_process_init.connect(begin, weak=False)
    signals.worker_process_shutdown.connect(end, weak=False)
