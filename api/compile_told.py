"""How a compilation comes along, told to the store; and how a process at it learns that nobody wants it any more."""

import time
from collections.abc import Callable

from api.asking import QueuedAsker
from rollout.database import Conflict
from rollout.store import Store

TELL_SECONDS = 2.0
"""Between two words about progress."""


class Interrupted(BaseException):
    """The compilation was asked to stop. No fault, so it passes what handles faults."""


class Ended(Interrupted):
    """It was cancelled, or has ended by another's doing: what it left may go."""


class Told:
    """`before`: trajectories read and examples built by shards that stand already."""

    def __init__(self, store: Store, id: str, stopped: Callable[[], bool]) -> None:
        self.store = store
        self.id = id
        self.stopped = stopped
        self.asker: QueuedAsker | None = None
        self.before = (0, 0)
        self._accounts: dict[str, int] = {}
        self._at = 0.0

    def progress(self, read: int, built: int) -> None:
        self._accounts = {"read": self.before[0] + read, "built": self.before[1] + built}
        self.look()

    def pause(self, seconds: float) -> None:
        self.look()
        time.sleep(seconds)

    def look(self) -> None:
        """Raises `Interrupted`."""
        if self.stopped():
            raise Interrupted
        if time.monotonic() - self._at >= TELL_SECONDS:
            self.now()

    def now(self) -> None:
        self._at = time.monotonic()
        try:
            self.store.set_compilation(self.id, "running", accounts=self._accounts | self._calls() or None)
        except Conflict as e:
            raise Ended(str(e)) from None

    def _calls(self) -> dict[str, int]:
        return {"calls": self.asker.ordered, "answered": self.asker.answered} if self.asker else {}

    def failed(self, words: str) -> None:
        try:
            self.store.set_compilation(self.id, "failed", error=words)
        except Conflict as e:
            raise Ended(str(e)) from None
