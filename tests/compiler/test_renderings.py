"""What is known of renderings, in a file that several processes find at once, or find damaged."""

import sqlite3
import threading
from pathlib import Path

import pytest

from compiler.errors import CompileError
from compiler.renderings import FileRenderings, Rendering

LAMP = Rendering(hash="h", size=4, tokens=1, neutralised=("<s>",), blank=False, sketch=b"s")


def test_a_new_file_that_another_process_just_makes_is_waited_for(tmp_path: Path) -> None:
    """SQLite refuses a change of mode at once, whatever the timeout, while another one begins to write."""
    path = tmp_path / "known.sqlite"
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    ready = threading.Timer(0.2, other.execute, ("COMMIT",))
    ready.start()
    known = FileRenderings(path)
    known.put("0a", LAMP)
    assert FileRenderings(path).get("0a") == LAMP
    ready.join()
    other.close()


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "known.sqlite"
    path.write_bytes(b"x" * 10_000)
    with pytest.raises(CompileError, match=r"known\.sqlite: file is not a database\..* remove it"):
        FileRenderings(path)
