"""A whole installation for tests: a service, worker processes, Redis, model endpoints; each can be killed."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
import redis
import sqlalchemy as sa

from rollout.blobs import FolderBlobs
from rollout.store import Store
from tests.ports import free_port

TRAJC = Path(sys.executable).parent / "trajc"
DEMO = Path(__file__).parents[2] / "demo"
UP_SECONDS = 300.0


def until(true: Callable[[], Any], what: str, seconds: float = UP_SECONDS, pause: float = 0.1) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds:.0f} s")
        time.sleep(pause)


@contextlib.contextmanager
def fresh_database(server: str) -> Iterator[str]:
    """A new database of this PostgreSQL server, dropped at the end."""
    name = f"trajc_{os.getpid()}_{time.monotonic_ns()}"
    with psycopg.connect(server, autocommit=True) as c:
        c.execute(f"create database {name}".encode())
    try:
        yield sa.make_url(server).set(database=name).render_as_string(hide_password=False)
    finally:
        with psycopg.connect(server, autocommit=True) as c:
            c.execute(f"drop database {name} with (force)".encode())


@dataclass
class Process:
    """A process that can be killed and started again under the same command."""

    command: list[str]
    environ: dict[str, str]
    log: Path
    ready: Callable[[], bool] = lambda: True
    running: "subprocess.Popen[bytes] | None" = None
    orphans: set[tuple[int, str]] = field(default_factory=set)
    """Processes that stood below it whenever it was killed: their id and start."""
    begin: int = 0
    """Where in the log its last start is."""

    def said(self) -> bytes:
        """What it has logged since its last start."""
        return self.log.read_bytes()[self.begin :]

    def start(self) -> None:
        with self.log.open("ab") as out:
            self.begin = out.tell()
            self.running = subprocess.Popen(
                self.command, env=self.environ, stdout=out, stderr=out, stdin=subprocess.DEVNULL
            )

    def up(self) -> None:
        """Wait until it answers."""
        try:
            until(lambda: self.ready() or self.process.poll() is not None, " ".join(self.command))
            assert self.process.poll() is None
        except AssertionError as e:
            raise AssertionError(f"{' '.join(self.command)} is not up:\n{self.log.read_text()[-3000:]}") from e

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        assert self.running is not None, f"{self.command} was never started"
        return self.running

    def halt_when(self, true: Callable[[], Any], what: str) -> None:
        """Stand it still, with all that is below it, at a moment at which something is so: whatever is done to it
        next is done at that moment. It is looked at once more while it stands still, and let go on where it is not so;
        but not stopped before it is nearly so: what stands still most of the time loses its leases."""

        def so() -> bool:
            if not true():
                return False
            until(self._stands_still, f"{' '.join(self.command)} stands still", pause=0.005)
            if true():
                return True
            self.signal_all(signal.SIGCONT)
            return False

        until(so, what, pause=0.02)

    def signal_all(self, number: int) -> None:
        """To it and to all that is below it."""
        for pid in self._all():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _all(self) -> set[int]:
        return {self.process.pid, *(pid for pid, _ in below(self.process.pid))}

    def _stands_still(self) -> bool:
        self.signal_all(signal.SIGSTOP)
        return all(_state(Path(f"/proc/{pid}")) in ("T", "Z", "") for pid in self._all())

    def kill(self) -> None:
        left = below(self.process.pid)
        self.orphans |= left
        self.process.kill()
        self.process.wait()
        for pid, _ in living(left):  # what was halted with it hears only now that it is gone
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def end(self, seconds: float = UP_SECONDS) -> int:
        """By SIGTERM; the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(f"{' '.join(self.command)} did not end:\n{self.log.read_text()[-3000:]}") from None
        return int(self.process.returncode)


def below(pid: int) -> set[tuple[int, str]]:
    """Every descendant of a process: its id and start."""
    table = {one[0]: one for one in map(_stat, Path("/proc").glob("[0-9]*")) if one}
    found: set[tuple[int, str]] = set()
    wanted = {pid}
    while wanted:
        children = {id for id, (_, parent, _) in table.items() if parent in wanted}
        found |= {(id, table[id][2]) for id in children}
        wanted = children
    return found


def living(processes: set[tuple[int, str]]) -> set[tuple[int, str]]:
    stats = (_stat(Path(f"/proc/{pid}")) for pid, _ in processes)
    return processes & {(one[0], one[2]) for one in stats if one}


def _stat(folder: Path) -> tuple[int, int, str] | None:
    """Id, parent and start; None for what is gone or only waits to be buried."""
    try:
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else (int(folder.name), int(fields[1]), fields[19])


def _state(folder: Path) -> str:
    """As a letter; none for what is gone."""
    try:
        return (folder / "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=30).status_code < 500
    except httpx.HTTPError:
        return False


def variables(settings: dict[str, str]) -> dict[str, str]:
    return {f"TRAJC_{name.upper()}": value for name, value in settings.items()}


@dataclass
class Fleet:
    """`database` None: SQLite in the home folder. With `with_redis`, work is carried over a Redis of its own."""

    home: Path
    database: str | None = None
    with_redis: bool = True
    settings: dict[str, str] = field(default_factory=dict)
    started: list[Process] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.port, self.redis_port = free_port(), free_port()
        self.environ = {k: v for k, v in os.environ.items() if not k.startswith(("TRAJC_", "OPENAI_"))}
        self.environ |= {"TRAJC_HOME": str(self.home), "TRAJC_PORT": str(self.port), "TRAJC_URL": self.url}
        if self.database:
            self.environ["TRAJC_DATABASE_URL"] = self.database
        if self.with_redis:
            self.environ["TRAJC_REDIS_URL"] = f"redis://127.0.0.1:{self.redis_port}/0"
        self.environ |= variables(self.settings)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def trajc(self, *words: str | Path) -> None:
        subprocess.run([TRAJC, *map(str, words)], env=self.environ, check=True, capture_output=True)

    def redis(self) -> Process:
        """It keeps nothing: what it held is gone when it dies."""
        command = ["redis-server", "--port", str(self.redis_port), "--save", "", "--appendonly", "no"]
        return self._process([shutil.which("redis-server") or command[0], *command[1:]], "redis", self.redis_answers)

    @property
    def client(self) -> "redis.Redis":
        return redis.Redis(port=self.redis_port, socket_connect_timeout=60, socket_timeout=60)

    def redis_answers(self) -> bool:
        with contextlib.suppress(redis.RedisError), self.client as client:
            return bool(client.ping())
        return False

    def serve(self) -> Process:
        return self._process([str(TRAJC), "serve"], "serve", lambda: answers(f"{self.url}/readyz"))

    def worker(self, what: str = "rollouts", concurrency: int = 4, name: str = "worker", **settings: str) -> Process:
        """`settings` are its own, beside the installation's."""
        made = self._process(self.worker_command(what, concurrency), name, lambda: True, **settings)
        made.ready = lambda: b"is at work" in made.said()
        return made

    def worker_command(self, what: str, concurrency: int) -> list[str]:
        return [str(TRAJC), "worker", what, "--concurrency", str(concurrency)]

    def oracle(self, *words: str | Path, name: str = "oracle") -> tuple[Process, str]:
        """The process, and its base URL."""
        port = free_port()
        command = [str(TRAJC), "oracle", *map(str, words), "--port", str(port)]
        process = self._process(command, name, lambda: answers(f"http://127.0.0.1:{port}/health"))
        return process, f"http://127.0.0.1:{port}/v1"

    def _process(self, command: list[str], name: str, ready: Callable[[], bool], **settings: str) -> Process:
        environ = self.environ | variables(settings)
        made = Process(command, environ, self.home.parent / f"{name}.log", ready)
        made.start()
        self.started.append(made)
        return made

    def get(self, path: str) -> Any:
        answer = httpx.get(self.url + path, timeout=300)
        answer.raise_for_status()
        return answer.json()

    def post(self, path: str, body: Any = None) -> Any:
        answer = httpx.post(self.url + path, json=body, timeout=300)
        answer.raise_for_status()
        return answer.json()

    @contextlib.contextmanager
    def store(self) -> Iterator[Store]:
        """The installation's database, to look into."""
        with Store.open(self.database or self.home / "trajc.db", FolderBlobs(self.home / "blobs")) as store:
            yield store

    def close(self) -> None:
        for process in reversed(self.started):
            with contextlib.suppress(AssertionError):
                process.end(10.0)


@contextlib.contextmanager
def fleet(folder: Path, database: str | None = None, *, redis: bool = True, **settings: str) -> Iterator[Fleet]:
    """An installation with the demo's database loaded; everything that it started has ended after the block."""
    home = folder / "home"
    home.mkdir(parents=True)
    made = Fleet(home, database, redis, settings)
    try:
        made.trajc("tasks", "load-db", "ferries", DEMO / "sql" / "ferries")
        yield made
    finally:
        made.close()


def counting_tasks(folder: Path, n: int, turns: int) -> tuple[Path, Path]:
    """`n` SQL tasks, and the recording that solves each in exactly `turns` turns: task file, recording file."""
    gold = "SELECT count(*) FROM ports"
    tasks, recording = folder / "counting.jsonl", folder / "counting-recording.jsonl"
    with tasks.open("w") as lines, recording.open("w") as moves:
        for i in range(n):
            world = {"database": "ferries"}
            task = {"id": f"count-{i}", "environment": "sql", "question": f"How many ports are there? ({i})"}
            lines.write(json.dumps(task | {"world": world, "reference": {"gold_sql": gold}}) + "\n")
            looks = [
                {"name": "run_sql", "arguments": {"sql": f"SELECT {i} + {k}, name FROM ports ORDER BY name"}}
                for k in range(turns - 1)
            ]
            answer = {"name": "answer", "arguments": {"sql": gold}}
            moves.write(json.dumps({"task": f"count-{i}", "actions": [*looks, answer]}) + "\n")
    return tasks, recording


def inline(tasks: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in tasks.read_text().splitlines()]


def completions(base_url: str) -> dict[str, int]:
    """Model calls that this endpoint answered, by task."""
    return {task: counts["completions"] for task, counts in told(base_url)["tasks"].items()}


def asked(base_url: str) -> dict[str, int]:
    """Model calls that came to this endpoint, by task, answered or not yet."""
    return {task: counts["requests"] for task, counts in told(base_url)["tasks"].items()}


def told(base_url: str) -> dict[str, Any]:
    """What an oracle counts."""
    return dict(httpx.get(base_url.removesuffix("/v1") + "/stats", timeout=120).json())
