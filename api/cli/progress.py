"""Progress on stderr: a bar on a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from api.cli.terminal import say

QUIET_SECONDS = 5.0
"""Between two plain lines."""


@contextmanager
def bar(title: str, unit: str, quiet: float = QUIET_SECONDS) -> Iterator[Callable[..., None]]:
    """Yields `tell(done, total)`, both in `unit`, the total None while nobody knows it; a third argument are words on
    how it goes."""
    if not sys.stderr.isatty():
        with _lines(title, unit, quiet) as tell:
            yield tell
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    count = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
    words = TextColumn("{task.fields[words]}", markup=False)
    columns = (TextColumn("{task.description}"), BarColumn(), count, TimeRemainingColumn(), words)
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=None, words="")
        yield lambda done, total, words="": progress.update(task, completed=done, total=total, words=words)


@contextmanager
def _lines(title: str, unit: str, quiet: float) -> Iterator[Callable[..., None]]:
    last = time.monotonic()

    def tell(done: int, total: int | None, words: str = "") -> None:
        nonlocal last
        if time.monotonic() - last >= quiet:
            last = time.monotonic()
            count = f"{done} of {total} {unit}" if total is not None else ""
            say(f"{title}: " + "; ".join(part for part in (count, words) if part))

    yield tell
