"""The workers' parent: one process that has imported everything once and forks a worker in milliseconds.

It has one thread and no database open, so forking is safe, and "dies with its parent" (which Linux ties to the
forking *thread*) is reliable for the workers. It ends, and they with it, when its own owner ends or hangs up.
"""

import contextlib
import gc
import logging
import os
import selectors
import signal
import socket
import sys

from envs.sql.functions import allowed_classes, allowed_functions, clean_connection
from envs.sql.worker import confine, serve

GC_THRESHOLD = 50_000
"""Allocations between collections in a worker: one statement's syntax trees are well below, and are freed by count."""


def main(descriptor: int, owner: int) -> None:
    """Serve the control socket `descriptor` for the process `owner`: "fork" with a worker's socket attached is
    answered with its pid; "kill PID" kills that worker."""
    control = socket.socket(fileno=descriptor)
    logging.disable()  # sqlglot comments on what it cannot read, to nobody
    allowed_functions(), allowed_classes()
    clean_connection().close()
    clean_connection.cache_clear()
    # What is imported stays for good: workers need not look through it, nor copy its pages.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)
    wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write)
    children: set[int] = set()
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        selector.register(wake_read, selectors.EVENT_READ)
        selector.register(_watch(owner), selectors.EVENT_READ)
        control.send(b"ready")
        while True:
            ready = {key.fileobj for key, _ in selector.select()}
            if wake_read in ready:
                _reap(wake_read, children)
            if control in ready and not _obey(control, children):
                break
            if not ready <= {control, wake_read}:
                break
    for pid in children:
        _kill(pid)


def _watch(owner: int) -> int:
    """A descriptor that becomes readable when the owner is gone."""
    try:
        descriptor = os.pidfd_open(owner)
    except ProcessLookupError:
        sys.exit(0)
    if os.getppid() != owner:
        sys.exit(0)
    return descriptor


def _obey(control: socket.socket, children: set[int]) -> bool:
    message, descriptors, _, _ = socket.recv_fds(control, 64, 1)
    if not message:
        return False
    if message == b"fork" and descriptors:
        pid = _fork(control, descriptors[0])
        children.add(pid)
        os.close(descriptors[0])
        control.send(str(pid).encode())
    elif message.startswith(b"kill "):
        pid = int(message[5:])
        if pid in children:
            _kill(pid)
    return True


def _fork(control: socket.socket, descriptor: int) -> int:
    here = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        control.close()
        confine(here)
        serve(socket.socket(fileno=descriptor))
    except BaseException:
        os._exit(1)
    os._exit(0)


def _reap(wake: int, children: set[int]) -> None:
    with contextlib.suppress(BlockingIOError):
        while os.read(wake, 256):
            pass
    while children:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        children.discard(pid)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
