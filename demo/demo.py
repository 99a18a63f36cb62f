"""`make demo`: the whole of trajc once, by the commands that a user types.

Everything lies in `.trajc` in this folder. Without TRAJC_BASE_URL the rollouts are driven by trajc's own oracle,
which solves the demo's tasks from their references over real HTTP; with it, by the model TRAJC_MODEL there.
"""

import asyncio
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent
HOME = ROOT / ".trajc"
TRAJC = Path(sys.executable).parent / "trajc"
STARTED = time.monotonic()
DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""What answers is on this machine, whatever proxy it has."""


def main() -> None:
    if not TRAJC.exists():
        sys.exit(f"trajc is not installed beside {sys.executable}: `make demo` installs it first")
    HOME.mkdir(exist_ok=True)
    port = free_port()
    os.environ |= {"TRAJC_HOME": str(HOME), "TRAJC_PORT": str(port), "TRAJC_URL": f"http://127.0.0.1:{port}"}
    files = {"search": HERE / "search" / "tasks.jsonl", "sql": HERE / "sql" / "tasks.jsonl"}

    heading("What the tasks stand on: a corpus, a database, repositories")
    trajc("tasks", "index", "halvard", HERE / "search" / "documents")
    trajc("tasks", "load-db", "ferries", HERE / "sql" / "ferries")
    if (absent := no_engine()) is None:
        files["swe"] = swe_tasks(HOME)
    else:
        print(f"no software-engineering tasks this time: {absent}")

    with ExitStack() as stack:
        model, endpoint = os.environ.get("TRAJC_MODEL"), os.environ.get("TRAJC_BASE_URL")
        if endpoint is None:
            model, endpoint = "oracle", stack.enter_context(oracle(list(files.values())))
        elif model is None:
            sys.exit("TRAJC_BASE_URL is set: set TRAJC_MODEL to the model's name there, too")
        stack.enter_context(server([TRAJC, "serve"], f"{os.environ['TRAJC_URL']}/readyz", "serve.log"))

        heading("Rollouts")
        runs = [
            trajc_json("run", path, "--env", env, "--model", model, "--base-url", endpoint, "--name", f"demo-{env}")
            for env, path in files.items()
        ]
        closed = all(run["accounts"]["closes"] for run in runs)

        heading("Compilation")
        oracle_too = ["--include-oracle"] if model == "oracle" else []
        compiled = trajc_json("compile", *(run["id"] for run in runs), "--name", "demo", *oracle_too)
        closed = closed and accounts_close(compiled["accounts"])
        out = HOME / "pulled" / compiled["version"]
        trajc("pull", "demo", "--version", compiled["version"], "--out", out)
        trajc("verify", f"demo@{compiled['version']}")
        summary(runs, compiled, out)

    if not closed:
        sys.exit("the accounts do not close")


def heading(words: str) -> None:
    print(f"\n\033[1m{words}\033[0m" if sys.stdout.isatty() else f"\n== {words}", flush=True)


def trajc(*words: str | Path, capture: bool = False) -> str:
    """Show the command, run it, and end the demo with its words if it fails."""
    shown = [w.relative_to(ROOT) if isinstance(w, Path) else w for w in words]
    print(f"$ trajc {shlex.join(map(str, shown))}", flush=True)
    done = subprocess.run([TRAJC, *words], stdout=subprocess.PIPE if capture else None, text=True, check=False)
    # 3 says that rollouts failed, which an endpoint of the user's may do: the accounts tell.
    if done.returncode not in (0, 3):
        sys.exit(done.returncode)
    return done.stdout or ""


def trajc_json(*words: str | Path) -> Any:
    return json.loads(trajc(*words, "--json", capture=True))


def no_engine() -> str | None:
    """Why there can be no software-engineering tasks here; None where a Docker engine has the base image now."""
    from api.cli.make_swe import make_base_image
    from api.settings import read_settings
    from envs.errors import SandboxError

    try:
        asyncio.run(make_base_image(read_settings(), None, lambda words: print(words, flush=True)))
    except SandboxError as e:
        return str(e)
    return None


def swe_tasks(home: Path) -> Path:
    """Plant each repository's bug: the tasks that come of it, in a file of the home folder."""
    from envs.swe.make.folder import Edit, make_task_from_folder
    from rollout.blobs import FolderBlobs

    path = home / "swe-tasks.jsonl"
    with path.open("w") as lines:
        for described in sorted(HERE.glob("swe/*/task.json")):
            wanted = json.loads(described.read_text())
            bug = [Edit(**edit) for edit in wanted.pop("bug")]
            task, reference = make_task_from_folder(
                described.parent / "repository",
                bug,
                FolderBlobs(home / "blobs"),
                repository=described.parent.name,
                **wanted,
            )
            lines.write(json.dumps({**task.model_dump(mode="json"), "reference": reference.data}) + "\n")
    return path


@contextmanager
def oracle(files: list[Path]) -> Iterator[str]:
    port = free_port()
    command = [TRAJC, "oracle", *files, "--port", str(port), "--detours", "0.2"]
    with server(command, f"http://127.0.0.1:{port}/health", "oracle.log"):
        yield f"http://127.0.0.1:{port}/v1"


@contextmanager
def server(command: list[str | Path], ready: str, log: str) -> Iterator[None]:
    """A server until the block ends; its output goes to a file in the home folder."""
    with (HOME / log).open("w") as out:
        running = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
    try:
        until_ready(running, ready, HOME / log)
        yield
    finally:
        running.send_signal(signal.SIGTERM)
        try:
            running.wait(30)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


def until_ready(running: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and running.poll() is None:
        try:
            with DIRECTLY.open(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    sys.exit(f"{url} does not answer; {log} says:\n{log.read_text()[-2000:]}")


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port


def accounts_close(a: dict[str, Any]) -> bool:
    """selected = yielded + dropped; built = published + dropped."""
    return bool(
        a["selected"] == a["yielded"] + sum(a["trajectories_dropped"].values())
        and a["built"] == a["published"] + sum(a["examples_dropped"].values())
    )


def summary(runs: list[dict[str, Any]], compiled: dict[str, Any], out: Path) -> None:
    heading("What came of it")
    for run in runs:
        a = run["accounts"]
        print(
            f"{run['spec']['name']:12} {a['submitted']} submitted = {a['queued']} queued + {a['running']} running + "
            f"{a['succeeded']} succeeded + {sum(a['failed'].values())} failed + {a['cancelled']} cancelled"
        )
    a = compiled["accounts"]
    dropped = {**a["trajectories_dropped"], **a["examples_dropped"]}
    reasons = ", ".join(f"{count} {reason}" for reason, count in dropped.items()) or "none"
    print(f"{'compilation':12} {a['selected']} trajectories selected, {a['published']} published, dropped: {reasons}")
    print(f"{'dataset':12} demo {compiled['version']}")
    for config in ("search_agent", "sql_agent", "swe_agent"):
        lengths = sorted(tokens(out, config))
        if lengths:
            print(
                f"{config:12} {len(lengths)} examples of {lengths[0]} to {lengths[-1]} tokens "
                f"(median {lengths[len(lengths) // 2]})"
            )
        else:
            print(f"{config:12} no examples")
    print(f"{'pulled to':12} {out.relative_to(ROOT)}")
    print(f"{'took':12} {time.monotonic() - STARTED:.0f} s")


def tokens(folder: Path, config: str) -> list[int]:
    """The token length of each example, from the pulled Parquet."""
    import pyarrow.parquet as pq

    return [
        length
        for path in sorted(folder.rglob("*.parquet"))
        if config in str(path.relative_to(folder))
        for length in pq.read_table(path, columns=["tokens"])["tokens"].to_pylist()
    ]


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("interrupted: what was done is kept in .trajc, and `make demo` begins anew")
