"""A process that is told to end does, whatever its threads wait for."""

import subprocess
import sys

HANGS = """
import threading, time
from api.deadline import end_by
threading.Thread(target=time.sleep, args=(600,)).start()
end_by(0.1)
"""


def test_a_thread_that_never_ends_does_not_keep_its_process() -> None:
    ended = subprocess.run([sys.executable, "-c", HANGS], capture_output=True, text=True, timeout=300, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "something does not end" in ended.stderr
