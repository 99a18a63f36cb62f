"""The end of a process that does not come to one.

Threads that wait for a database which neither answers nor refuses cannot be ended, and the interpreter waits for them.
"""

import os
import sys
import threading


def end_by(seconds: float) -> None:
    """From now on this process has so long to end in good order. What it holds then is taken back when its leases run
    out."""

    def end() -> None:
        os.write(sys.stderr.fileno(), b"something does not end (a database that does not answer?): ending at once\n")
        os._exit(1)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
