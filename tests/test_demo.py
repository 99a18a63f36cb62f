"""The demo, where it does not come to its end."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_an_interrupted_demo_says_so_in_a_sentence(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "demo", tmp_path / "demo")
    command = [sys.executable, "-c", "import signal, runpy; signal.signal(signal.SIGINT, signal.default_int_handler); "]
    command[-1] += "runpy.run_path('demo/demo.py', run_name='__main__')"
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as demo:
        assert demo.stdout is not None
        assert demo.stderr is not None
        while "trajc tasks index" not in demo.stdout.readline():
            pass
        os.killpg(demo.pid, signal.SIGINT)  # as Ctrl-C does; the command that it started may have its words as well
        words = "interrupted: what was done is kept in .trajc, and `make demo` begins anew"
        said = demo.stderr.read().splitlines()
        assert (demo.wait(30), words in said) == (1, True), said
