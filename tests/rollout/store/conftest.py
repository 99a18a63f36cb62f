"""Stores on both databases, a clock that a test sets, and small tasks and trajectories to fill them with."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from envs.blobs import BlobStore
from envs.score import Score, Submission
from envs.task import Reference, Task
from rollout.blobs import FolderBlobs
from rollout.ids import trajectory_id
from rollout.runs import Claim, RunSpec, TaskRow
from rollout.store import Store
from rollout.trajectory import Message, ModelCall, Trajectory, Usage
from tests.ports import free_port


@dataclass
class Clock:
    """Unix seconds that stand still until a test moves them."""

    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


SPEC = RunSpec(environment="echo", model="parrot")
RIGHT = Score(scorer="echo", version="1", value=1.0, verdict="right")


def rows(n: int, start: int = 0) -> list[TaskRow]:
    return [
        TaskRow(
            Task(id=f"t{i}", environment="echo", question=f"Say {i}.", group=f"g{i % 3}"),
            Reference(data={"answer": str(i)}),
        )
        for i in range(start, start + n)
    ]


def trajectory(store: Store, claim: Claim, said: str = "hello", *, stop: bool = True) -> Trajectory:
    """What a worker holding the claim might hand in."""
    work = store.work(claim.job)
    return Trajectory(
        id=trajectory_id(claim.job, claim.attempt),
        run=work.run,
        rollout=claim.job,
        attempt=claim.attempt,
        sample=claim.sample,
        group=claim.group,
        task=work.task,
        model=work.spec.model,
        messages=(Message(role="user", content=work.task.question), Message(role="assistant", content=said)),
        calls=(ModelCall(input=((0, 1),), output=1, raw="{}", usage=Usage(prompt_tokens=5, completion_tokens=2)),),
        submission=Submission(kind="text", text=said) if stop else None,
        stop="answered" if stop else None,
    )


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a server: TRAJC_TEST_POSTGRES, or one of our own that ends with the tests."""
    if url := os.environ.get("TRAJC_TEST_POSTGRES"):
        yield url
        return
    programs = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    user = "postgres" if os.getuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="trajc-pg-"))
    if user:
        shutil.chown(folder, user)
    data = folder / "data"
    initdb: list[str | Path] = [
        programs / "initdb",
        "-D",
        data,
        "-A",
        "trust",
        "-U",
        "trajc",
        "-E",
        "UTF8",
        "--no-sync",
        "--locale=C",
    ]
    subprocess.run(initdb, user=user, cwd=folder, check=True, capture_output=True)
    port = free_port()
    server = subprocess.Popen(
        [
            programs / "postgres",
            "-D",
            data,
            "-p",
            str(port),
            "-k",
            folder,
            "-c",
            "fsync=off",
            "-c",
            "max_connections=200",
        ],
        user=user,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=(folder / "log").open("wb"),
    )
    url = f"postgresql://trajc@127.0.0.1:{port}/postgres"
    try:
        for _ in range(2400):
            with contextlib.suppress(psycopg.OperationalError), psycopg.connect(url):
                break
            time.sleep(0.05)
        else:
            pytest.fail(f"PostgreSQL did not start: {(folder / 'log').read_text()}")
        yield url
    finally:
        server.send_signal(signal.SIGINT)  # its fast shutdown
        server.wait(120)
        shutil.rmtree(folder)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.needs("postgresql"))])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'trajc.db'}"
        return
    server: str = request.getfixturevalue("postgres_server")
    name = f"trajc_{uuid.uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as c:
        c.execute(f"create database {name}".encode())
    try:
        yield sa.make_url(server).set(database=name).render_as_string(hide_password=False)
    finally:
        with psycopg.connect(server, autocommit=True) as c:
            c.execute(f"drop database {name} with (force)".encode())


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return FolderBlobs(tmp_path / "blobs", fsync=False)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(url: str, blobs: BlobStore, clock: Clock) -> Iterator[Store]:
    with Store.open(url, blobs, clock=clock) as opened:
        yield opened


@dataclass(frozen=True)
class Kit:
    """What tests fill a store with."""

    spec: RunSpec = SPEC
    right: Score = RIGHT
    rows: Callable[..., list[TaskRow]] = rows
    trajectory: Callable[..., Trajectory] = trajectory


@pytest.fixture
def kit() -> Kit:
    return Kit()
