"""Whether this machine stood still for a while: of the second that something has, nothing was left to it then."""

import threading
import time

STEP = 0.02


class Standstill:
    """`longest`: seconds by which, at most, a thread of this process was late while the block lasted."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "Standstill":
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._watch.join()

    def _look(self) -> None:
        while not self._over.is_set():
            began = time.monotonic()
            self._over.wait(STEP)
            self.longest = max(self.longest, time.monotonic() - began - STEP)
