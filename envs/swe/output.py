"""A command's output as it streams in: the first and the last bytes are kept, those between are counted."""

from collections import deque


class HeadTail:
    """Holds at most `keep` bytes (half head, half tail) of however many are fed."""

    def __init__(self, keep: int) -> None:
        self._half = keep // 2
        self._head = bytearray()
        self._tail: deque[bytes] = deque()
        self._tail_size = 0
        self.total = 0

    def feed(self, data: bytes) -> None:
        self.total += len(data)
        room = self._half - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        if not data:
            return
        self._tail.append(data)
        self._tail_size += len(data)
        while self._tail_size - len(self._tail[0]) >= self._half:
            self._tail_size -= len(self._tail.popleft())

    def result(self) -> tuple[bytes, int, int]:
        """What is kept, the bytes left out, and the offset in what is kept at which they are missing."""
        tail = b"".join(self._tail)[-self._half :] if self._tail else b""
        return bytes(self._head) + tail, self.total - len(self._head) - len(tail), len(self._head)
