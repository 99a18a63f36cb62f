"""Containers that belong to a process and to no rollout: those that wait in a pool, and those that score.

Labels cannot change, so they name the process; a reaper keeps them for as long as it lives.
"""

import os
import socket
from pathlib import Path

PROCESS = "process"
"""The label `trajc.process`: host, process id and when the process began, since ids are used again."""


def this_process() -> str:
    return f"{socket.gethostname()}:{os.getpid()}:{_began(os.getpid())}"


def may_live(process: str | None) -> bool:
    """Whether the process that a label names may still be there; of other hosts nobody can tell."""
    if not process:
        return False
    host, _, rest = process.partition(":")
    pid, _, began = rest.partition(":")
    return host != socket.gethostname() or (pid.isdigit() and _began(int(pid)) == began)


def _began(pid: int) -> str:
    """In clock ticks since the machine started; "" where there is no such process, or it only waits to be buried."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]
