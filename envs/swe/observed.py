"""What a command wrote, as a tool's result: cut for the model, kept whole beside it."""

from dataclasses import dataclass

from envs.blobs import Blob, BlobStore
from envs.swe.sandbox import Output
from envs.tool import cut_middle

Range = tuple[int, int]


@dataclass(frozen=True)
class Observed:
    """`raw` is all that was kept; `shown` are the byte ranges of it that stand in `text`."""

    text: str
    raw: bytes
    shown: tuple[Range, ...]
    hidden: int
    lost: int

    def blob(self, blobs: BlobStore) -> Blob | None:
        """The raw bytes stored, where the text is not all of them."""
        if not self.hidden and self.text.encode("utf-8", "surrogatepass") == self.raw:
            return None
        try:
            self.raw.decode("utf-8")
        except UnicodeDecodeError:
            return blobs.put(self.raw, "application/octet-stream", None)
        return blobs.put(self.raw, "text/plain", "utf-8")


def observe(data: bytes, limit: int, left_out: int = 0, cut_at: int = 0) -> Observed:
    """`limit` bounds the text in bytes; `left_out` bytes were lost at `cut_at` before anybody kept them."""
    raw = data
    if left_out:
        seam = f"\n[... {left_out} bytes were not kept ...]\n".encode()
        raw = data[:cut_at] + seam + data[cut_at:]
    text, shown, hidden = cut_middle(raw.decode("utf-8", "surrogateescape"), limit)
    clean = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace").replace("\0", "\ufffd")
    return Observed(text=clean, raw=raw, shown=shown, hidden=hidden, lost=left_out)


def ending(output: Output, seconds: float, directory: str) -> str:
    """The line that tells the model how a command ended, where that is not the ordinary way."""
    if output.ended == "timeout":
        return (
            f"[ended after {seconds:g} s: the command and every process started so far were killed; the shell was "
            f"started anew in {directory}]"
        )
    if output.ended == "flood":
        return f"[ended: it wrote too much; every process was killed; the shell was started anew in {directory}]"
    if output.ended == "disk":
        return f"[ended: the disk is too full, remove files; every process was killed; the shell is new in {directory}]"
    if output.code is None:
        return f"[the shell was killed; it was started anew in {directory}]"
    return f"[exit code {output.code}]" if output.code else ""
