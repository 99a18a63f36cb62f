"""A disk that takes no more, and a home folder that cannot be made, end a command in one sentence."""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

TRAJC = Path(sys.executable).parent / "trajc"


def no_byte_more() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("load-db", "the database x cannot be written in {home}/databases/x: IO Error: Could not write"),
        ("index", "the index in {home}/corpora/x/building cannot be written: "),
    ],
)
def test_a_full_disk_ends_a_command_in_a_sentence(tmp_path: Path, command: str, words: str) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "one.md").write_text("# One\n\nA page.\n")
    (source / "two.csv").write_text("id\n1\n")
    environ = {**os.environ, "TRAJC_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [TRAJC, "tasks", command, "x", source], env=environ, capture_output=True, text=True, preexec_fn=no_byte_more
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"trajc: {words.format(home=tmp_path / 'home')}"), done.stderr
    assert "Traceback" not in done.stderr


def test_a_home_that_cannot_be_made_is_named_with_its_setting(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    done = subprocess.run(
        [TRAJC, "tasks", "index", "x", tmp_path],
        env={**os.environ, "TRAJC_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
    )
    way_out = "set TRAJC_HOME to a folder that you may write"
    words = f"trajc: the home folder {tmp_path / 'home'} cannot be made: File exists; {way_out}\n"
    assert (done.returncode, done.stderr) == (2, words)
