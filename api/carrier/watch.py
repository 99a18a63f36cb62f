"""How the children of a worker learn that it ends: by the end of a pipe that only it can write to.

A signal would do, but children come and go, and one that is just being forked would miss it.
"""

import os
import threading
from collections.abc import Callable


class Watch:
    """Made before the fork. `tell` is the parent's, `when_told` a child's."""

    def __init__(self) -> None:
        self._reads, self._writes = os.pipe()

    def tell(self) -> None:
        """Safe in a signal handler."""
        os.close(self._writes)

    def when_told(self, act: Callable[[], None]) -> None:
        """Call `act`, in a thread, once the parent has told or is gone. A process calls it once."""
        os.close(self._writes)  # a copy: while it is open here, the pipe never ends

        def wait() -> None:
            os.read(self._reads, 1)
            act()

        threading.Thread(target=wait, name="watch", daemon=True).start()
