"""What the command says and where: results on stdout, progress and words on stderr, errors without tracebacks."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from errno import ENOSPC
from typing import TYPE_CHECKING, Any, NoReturn
from unicodedata import category

import typer

if TYPE_CHECKING:
    from api.settings import Settings


def say(words: str) -> None:
    print(printable(words), file=sys.stderr, flush=True)


def write(words: str) -> None:
    """A result: its words may be a model's, a task file's, or an endpoint's."""
    print(printable(words))


def emit(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False, default=str), flush=True)


def printable(text: str) -> str:
    """What an agent or a server wrote may not steer the terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" or category(c) == "Zs" else f"\\x{ord(c):02x}" for c in text)


def fail(words: str, code: int = 1) -> NoReturn:
    say(f"trajc: {words}")
    raise typer.Exit(code)


def settings() -> "Settings":
    from api.settings import SettingsError, read_settings

    try:
        return read_settings()
    except SettingsError as e:
        fail(str(e), 2)


@contextmanager
def goes_on(id: str) -> Iterator[None]:
    """Around waiting for what the service does: who stops waiting has not stopped that, nor has a service that ends."""
    from api.client import ServiceError

    try:
        yield
    except ServiceError as e:
        if e.status is not None:
            raise
        fail(f"{e}. {id} is kept and goes on as the service does: `trajc inspect {id}` tells how it stands")
    except KeyboardInterrupt:
        fail(f"interrupted; {id} goes on in the service: `trajc cancel {id}` ends it", 130)


@contextmanager
def plain_errors() -> Iterator[None]:
    """Errors that are sentences end the command as one sentence; anything else is a fault of ours and shows."""
    from api.client import ServiceError
    from api.problems import Problem
    from envs.errors import TrajcError

    try:
        yield
    except (ServiceError, TrajcError, Problem) as e:
        fail(str(e))
    except OSError as e:
        way_out = "; free some disk, or choose a folder on another" if e.errno == ENOSPC else ""
        fail(f"{e.filename or ''}: {e.strerror or e}{way_out}".removeprefix(": "))
    except KeyboardInterrupt:
        fail("interrupted", 130)
