"""An HTTP/1.1 answer while it comes in, byte by byte if it must: strict, since what is misread here is trained on."""

import string
from dataclasses import dataclass, field
from typing import NamedTuple

HEAD_BYTES = 1 << 16
"""What an answer's status and headers may take."""
BODY_BYTES = 256 << 20
"""What a body may take: several times the longest reply with log probabilities, and less than a worker's memory."""

_HEX = frozenset(string.hexdigits.encode())


class TransportError(Exception):
    """No answer, and why. Another request may fare better."""


class Answer(NamedTuple):
    status: int
    headers: dict[bytes, bytes]
    """Names in lower case; what came several times is joined by commas."""
    body: bytes

    def header(self, name: bytes) -> str | None:
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")


@dataclass
class Reading:
    """An answer while it comes in. `keep` says, after it, whether the connection may be used again."""

    keep: bool = True
    _buffer: bytearray = field(default_factory=bytearray)
    _status: int = 0
    """0 before the head is whole."""
    _headers: dict[bytes, bytes] = field(default_factory=dict)
    _length: int | None = None
    _chunks: "Chunks | None" = None

    def feed(self, data: bytes) -> Answer | None:
        """The answer once it is whole. Raises `TransportError` for what is no HTTP."""
        searched = max(len(self._buffer) - 3, 0)
        self._buffer += data
        while not self._status:
            end = self._buffer.find(b"\r\n\r\n", searched)
            if end < 0:
                if len(self._buffer) > HEAD_BYTES:
                    raise TransportError(f"the answer's head is longer than {HEAD_BYTES} bytes")
                return None
            self._read_head(bytes(memoryview(self._buffer)[:end]))
            del self._buffer[: end + 4]
            searched = 0
        if self._chunks is not None:
            if self._chunks.size + len(self._buffer) > BODY_BYTES:
                raise _too_long()
            return self._whole(b"".join(self._chunks.parts)) if self._chunks.feed(self._buffer) else None
        if self._length is None or len(self._buffer) < self._length:
            if len(self._buffer) > BODY_BYTES:
                raise _too_long()
            return None
        body = bytes(memoryview(self._buffer)[: self._length])
        del self._buffer[: self._length]
        return self._whole(body)

    def ended(self) -> Answer | None:
        """The answer that the end of the connection makes whole, where it does."""
        if not self._status or self._chunks is not None or self._length is not None:
            return None
        body = bytes(self._buffer)
        self._buffer.clear()
        return self._whole(body)

    def _whole(self, body: bytes) -> Answer:
        if self._buffer:
            self.keep = False  # more than was asked for
        return Answer(self._status, self._headers, body)

    def _read_head(self, head: bytes) -> None:
        first, *lines = head.split(b"\r\n")
        version, _, rest = first.partition(b" ")
        code = rest[:3]
        if version not in (b"HTTP/1.1", b"HTTP/1.0") or not code.isdigit() or len(code) < 3:
            raise TransportError(f"an answer that is no HTTP/1.1: {first[:80]!r}")
        if code.startswith(b"1"):
            return  # an interim one; the answer follows
        headers: dict[bytes, bytes] = {}
        self._headers = headers
        for line in lines:
            name, colon, value = line.partition(b":")
            if not colon or name != name.strip():
                raise TransportError(f"an answer with a header that is none: {line[:80]!r}")
            name = name.lower()
            headers[name] = headers[name] + b", " + value.strip() if name in headers else value.strip()
        self._status = int(code)
        asked = headers.get(b"connection", b"").lower()
        self.keep = b"close" not in asked if version == b"HTTP/1.1" else b"keep-alive" in asked
        if self._status in (204, 304):
            self._length = 0
        elif (coding := headers.get(b"transfer-encoding")) is not None:
            if coding.lower() != b"chunked":
                raise TransportError(f"an answer in transfer encoding {coding[:80]!r}")
            self._chunks = Chunks()
        elif (length := headers.get(b"content-length")) is not None:
            if not length.isdigit():
                raise TransportError(f"an answer of length {length[:80]!r}")
            if len(length) > 15 or int(length) > BODY_BYTES:
                raise _too_long()
            self._length = int(length)
        else:
            self.keep = False
        if (coding := headers.get(b"content-encoding")) not in (None, b"", b"identity"):
            raise TransportError(f"an answer in content encoding {coding!r}, which was not asked for")


def _too_long() -> TransportError:
    return TransportError(f"an answer longer than {BODY_BYTES >> 20} MiB")


class Chunks:
    """A chunked body while it comes in; `parts` are its pieces so far, of `size` bytes in all."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.size = 0
        self._left = 0
        """Bytes that are to come of a chunk, its line end included."""
        self._trailing = False

    def feed(self, buffer: bytearray) -> bool:
        """Take what is the body's from the buffer. Whether the body is whole. Raises `TransportError`."""
        while True:
            if self._left:
                taken = min(self._left, len(buffer))
                self._take(buffer, taken)
                if self._left:
                    return False
            end = buffer.find(b"\r\n")
            if end < 0:
                if len(buffer) > HEAD_BYTES:
                    raise TransportError("a chunk without a size")
                return False
            line = bytes(buffer[:end])
            del buffer[: end + 2]
            if self._trailing:
                if not line:
                    return True
                continue
            size = line.partition(b";")[0].strip()
            if not size or len(size) > 15 or not _HEX.issuperset(size):
                raise TransportError(f"a chunk of size {size[:80]!r}")
            self._left = int(size, 16) + 2
            if self._left == 2:
                self._left, self._trailing = 0, True

    def _take(self, buffer: bytearray, count: int) -> None:
        """`count` bytes of the chunk and the line end that follows it."""
        view = memoryview(buffer)
        data = bytes(view[: max(min(count, self._left - 2), 0)])
        tail = bytes(view[len(data) : count])
        view.release()
        if not b"\r\n"[max(2 - self._left, 0) :].startswith(tail):
            raise TransportError("a chunk that does not end where it should")
        if data:
            self.parts.append(data)
            self.size += len(data)
        self._left -= count
        del buffer[:count]
