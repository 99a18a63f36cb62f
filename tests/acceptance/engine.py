"""A Docker engine of the tests' own, on a disk of its own: it may be killed and its disk filled without others'
containers noticing."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import docker
from docker.errors import DockerException

from tests.acceptance.fleet import below, until

DISK_BYTES = 2 << 30


class OwnEngine:
    """`folder` is short (the path of a socket has few characters) and holds the loop-mounted disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.disk = folder / "disk"
        self.url = f"unix://{folder}/sock"
        self._running: subprocess.Popen[bytes] | None = None

    def mount(self) -> None:
        image = self.folder / "disk.img"
        with image.open("wb") as file:
            file.truncate(DISK_BYTES)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", image], check=True)
        self.disk.mkdir()
        subprocess.run(["mount", "-o", "loop", image, self.disk], check=True)

    def start(self, *, live_restore: bool = False) -> None:
        """Returns when it answers."""
        for name in ("pid", "sock", "exec/containerd/containerd.pid"):
            (self.folder / name).unlink(missing_ok=True)
        # In a network of its own: an engine without a bridge removes the machine's docker0, which others build with.
        command: list[str | Path] = ["unshare", "--net", "dockerd"]
        command += ["--data-root", self.disk / "data", "--exec-root", self.folder / "exec"]
        command += ["--pidfile", self.folder / "pid", "--host", self.url]
        command += ["--bridge=none", "--iptables=false", "--ip-masq=false", "--storage-driver=overlay2"]
        command += ["--live-restore"] if live_restore else []
        with (self.folder / "log").open("ab") as log:
            self._running = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until(self.answers, f"the engine in {self.folder}")

    def answers(self) -> bool:
        with contextlib.suppress(DockerException, OSError), self.client() as client:
            return bool(client.ping())
        return False

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self._running is not None:
            self._running.send_signal(number)
            self._running.wait(300)
            self._running = None

    @contextlib.contextmanager
    def client(self) -> Iterator[Any]:
        client = docker.DockerClient(self.url, version="1.41", timeout=60)
        try:
            yield client
        finally:
            client.close()

    def take(self, image: str) -> None:
        """Copy an image from the machine's engine."""
        with self.client() as client, contextlib.closing(docker.from_env()) as other:
            client.images.load(other.images.get(image).save(named=True))

    @contextlib.contextmanager
    def filled(self) -> Iterator[None]:
        """Nobody can write to its disk for as long as the block lasts."""
        path = self.disk / "filler"
        try:
            with path.open("wb", buffering=0) as filler, contextlib.suppress(OSError):
                os.posix_fallocate(filler.fileno(), 0, shutil.disk_usage(self.disk).free - (8 << 20))
                while True:
                    filler.write(bytes(1 << 20))
            yield
        finally:
            path.unlink()

    def processes(self) -> list[list[str]]:
        """What runs in containers, whether it knows of them or not: command lines, container by container."""
        return [list(_words_of_all(pid for pid, _ in below(shim))) for shim in self._shims()]

    def _shims(self) -> list[int]:
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            for words in _words_of_all((int(folder.name),)):
                if "containerd-shim" in words and str(self.folder) in words:
                    found.append(int(folder.name))
        return found

    def close(self) -> None:
        with contextlib.suppress(DockerException, OSError), self.client() as client:
            for container in client.containers.list(all=True):
                container.remove(force=True)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.stop()
        for shim in self._shims():
            for pid, _ in (*below(shim), (shim, "")):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        mounted = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for path in reversed([m for m in mounted if m.startswith(f"{self.folder}/")]):
            subprocess.run(["umount", "--lazy", path], check=False, capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)


def _words_of_all(pids: Iterable[int]) -> Iterator[str]:
    """The command line of each that has not ended meanwhile."""
    for pid in pids:
        with contextlib.suppress(OSError):
            yield Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")


@contextlib.contextmanager
def own_engine() -> Iterator[OwnEngine]:
    """Needs root and the machine's own engine, whose images it copies."""
    folder = Path(tempfile.mkdtemp(prefix="trajc-engine-", dir="/tmp"))
    engine = OwnEngine(folder)
    try:
        engine.mount()
        engine.start()
        yield engine
    finally:
        engine.close()
