"""A process that lives no longer than the one that started it, told by a pipe between the two.

Apart from what the process does: a thread that waits here at the interpreter's end keeps this module's names alive,
and with those of a larger one it would keep DuckDB's, which then reports them as leaked.
"""

import os
import signal
import threading


def end_with(pipe: int) -> None:
    """Interrupt this process when the pipe ends: nobody waits for it any more."""
    threading.Thread(target=_wait, args=(pipe,), name="lifeline", daemon=True).start()


def _wait(pipe: int) -> None:
    while os.read(pipe, 1):
        pass
    os.kill(os.getpid(), signal.SIGINT)
