"""A PostgreSQL server for the queue's benchmarks: TRAJC_TEST_POSTGRES, or one that lives as long as the run."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg


@contextlib.contextmanager
def server() -> Iterator[str | None]:
    """Its URL, with default durability (fsync on); None where PostgreSQL is not installed."""
    if url := os.environ.get("TRAJC_TEST_POSTGRES"):
        yield url
        return
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    if not installed:
        yield None
        return
    programs, user = installed[-1], "postgres" if os.getuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="trajc-bench-pg-"))
    if user:
        shutil.chown(folder, user)
    data = str(folder / "data")
    initdb = [str(programs / "initdb"), "-D", data, "-A", "trust", "-U", "trajc", "-E", "UTF8", "--locale=C"]
    subprocess.run(initdb, user=user, cwd=folder, check=True, capture_output=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(programs / "postgres"), "-D", data, "-p", str(port), "-k", str(folder)]
    running = subprocess.Popen(command, user=user, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"postgresql://trajc@127.0.0.1:{port}/postgres"
    try:
        for _ in range(200):
            with contextlib.suppress(psycopg.OperationalError), psycopg.connect(url):
                break
            time.sleep(0.05)
        yield url
    finally:
        running.send_signal(signal.SIGINT)
        running.wait(60)
        shutil.rmtree(folder)
