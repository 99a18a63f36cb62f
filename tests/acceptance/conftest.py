"""The real service, driven as a user drives it: `trajc serve` in a process of its own, the command, real HTTP."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance import patient
from tests.acceptance.fleet import UP_SECONDS, answers
from tests.ports import free_port

TRAJC = Path(sys.executable).parent / "trajc"


@contextmanager
def process(command: list[str], environ: dict[str, str], log: Path, ready: str) -> Iterator[subprocess.Popen[bytes]]:
    """A server, up when `ready` answers, ended by SIGTERM. Its output is shown where it fails to come up."""
    with log.open("ab") as out:
        running = subprocess.Popen(command, env=environ, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + UP_SECONDS
        while not answers(ready):
            if running.poll() is not None:
                pytest.fail(f"{' '.join(command)} ended with {running.returncode}:\n{log.read_text()[-4000:]}")
            if time.monotonic() > deadline:
                pytest.fail(f"{' '.join(command)} did not come up:\n{log.read_text()[-4000:]}")
            time.sleep(0.1)
        yield running
    finally:
        if running.poll() is None:
            running.send_signal(signal.SIGTERM)
            try:
                running.wait(60)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()


@dataclass
class Trajc:
    """A home folder and the environment that the command sees."""

    home: Path
    environ: dict[str, str]

    @property
    def url(self) -> str:
        return self.environ["TRAJC_URL"]

    def __call__(self, *words: str | Path, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Run `trajc WORDS`; `code` is the exit status that is expected, None for any."""
        done = subprocess.run(
            [TRAJC, *map(str, words)], env=self.environ, capture_output=True, text=True, timeout=2700, check=False
        )
        if code is not None and done.returncode != code:
            pytest.fail(
                f"trajc {' '.join(map(str, words))}: exit {done.returncode}, not {code}\n{done.stdout}\n{done.stderr}"
            )
        return done

    def json(self, *words: str | Path, code: int | None = 0) -> Any:
        return json.loads(self(*words, "--json", code=code).stdout)

    def get(self, path: str) -> Any:
        answer = patient.get(self.url + path)
        answer.raise_for_status()
        return answer.json()

    def rollouts(self, run: str) -> Iterator[dict[str, Any]]:
        """Every rollout of a run, page by page."""
        cursor = ""
        while True:
            page = self.get(f"/v1/rollouts?run={run}&limit=100{cursor}")
            yield from page["items"]
            if page["next"] is None:
                return
            cursor = f"&cursor={page['next']}"

    @contextmanager
    def serving(self, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
        """`trajc serve` with these settings (`concurrency="4"` is TRAJC_CONCURRENCY)."""
        environ = self.environ | {f"TRAJC_{name.upper()}": value for name, value in settings.items()}
        with process([str(TRAJC), "serve"], environ, self.home / "serve.log", f"{self.url}/readyz") as running:
            yield running

    @contextmanager
    def oracle(self, *words: str | Path) -> Iterator[str]:
        """`trajc oracle WORDS` on a free port; the base URL."""
        port = free_port()
        command = [str(TRAJC), "oracle", *map(str, words), "--port", str(port)]
        with process(command, self.environ, self.home / "oracle.log", f"http://127.0.0.1:{port}/health"):
            yield f"http://127.0.0.1:{port}/v1"


@pytest.fixture(scope="session")
def new_trajc(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Trajc]:
    """A fresh home and port each time; no setting of the machine leaks in."""

    def make() -> Trajc:
        home = tmp_path_factory.mktemp("home")
        port = free_port()
        environ = {k: v for k, v in os.environ.items() if not k.startswith(("TRAJC_", "OPENAI_"))}
        environ |= {"TRAJC_HOME": str(home), "TRAJC_PORT": str(port), "TRAJC_URL": f"http://127.0.0.1:{port}"}
        return Trajc(home, environ)

    return make


DEMO = Path(__file__).parents[2] / "demo"


@dataclass(frozen=True)
class Served:
    """A service at work over the demo's corpus, with an oracle that knows its questions."""

    trajc: Trajc
    oracle: str
    run: dict[str, Any]
    """A finished run of the demo's questions."""
    dataset: dict[str, Any]
    """What its compilation became: `{"dataset", "version", ...}`."""


@pytest.fixture(scope="session")
def served(new_trajc: Callable[[], Trajc]) -> Iterator[Served]:
    trajc = new_trajc()
    trajc("tasks", "index", "halvard", DEMO / "search" / "documents")
    tasks = DEMO / "search" / "tasks.jsonl"
    with trajc.oracle(tasks) as oracle, trajc.serving():
        run = trajc.json("run", tasks, "--env", "search", "--model", "oracle", "--base-url", oracle, "--name", "served")
        dataset = trajc.json("compile", run["id"], "--include-oracle")
        yield Served(trajc, oracle, run, dataset)
