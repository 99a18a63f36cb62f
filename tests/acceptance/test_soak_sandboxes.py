"""The sandboxes' show: agents that do their worst, containers, workers, the engine and its disk that die under them.

Every rollout ends as it must, every lost attempt stands in its class, and nothing is left. TRAJC_SOAK_N=full is the
whole of it, a number that many rollouts; by default it is small.
"""

import contextlib
import json
import os
import random
import signal
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from docker.errors import DockerException

from envs.swe.engine.baseimage import BASE_IMAGE
from envs.swe.make.folder import Edit, make_task_from_folder
from rollout.blobs import FolderBlobs
from rollout.schema import jobs
from rollout.store import Store
from tests.acceptance.engine import OwnEngine, own_engine
from tests.acceptance.fleet import DEMO, Fleet, Process, fleet, inline, until

N = os.environ.get("TRAJC_SOAK_N", "")
FULL = N == "full" or N.isdigit()
ROLLOUTS = (int(N) if N.isdigit() else 500) if FULL else 18
EVERY = max(3, ROLLOUTS // 25)
"""Rollouts that end between two faults of ours."""
WORKERS, EACH = 2, 4
SECONDS = 6.0
"""What a hostile command gets."""
MEMORY, DISK, PROCESSES = 192 << 20, 48 << 20, 64

GOLD = "git apply /tmp/gold.patch && echo mended"
HOSTILE = {
    "plain": ("true", "[no output]"),
    "out of memory": ("python3 -c 'x = bytearray(1 << 32)'; python3 -c 'x = b\"a\" * (1 << 30)'", "[exit code 137]"),
    "fork bomb": ("bomb() { bomb | bomb & }; bomb; sleep 60", "[ended after 6 s"),
    "disk full": (
        "for n in 1 2 3; do head -c 30M /dev/zero > fill$n; done; sleep 60",
        "[ended: the disk is too full",
    ),
    "hangs": ("trap '' TERM INT; sleep 300 & wait; sleep 300", "[ended after 6 s"),
    "floods": ("yes", "[ended: it wrote too much"),
    "kills all": ("kill -9 -1; kill -9 $$", "[exit code 137]"),
    "daemon": ("(setsid sleep 1000 &) ; (while :; do :; done) & echo left", "left"),
}
"""What the agent does before it mends the bug, and what it is told of that."""
WRONG = ("nothing done", "test planted")
KINDS = (*HOSTILE, *WRONG)


@dataclass
class Faults:
    """What was done to the installation, and to which attempts."""

    happened: Counter[str] = field(default_factory=Counter)
    attempts: list[tuple[str, int, str]] = field(default_factory=list)
    """Rollout, attempt, and what was done to its container."""


@pytest.mark.soak
@pytest.mark.needs("redis", "docker")
@pytest.mark.timeout(3600)
def test_hostile_agents_and_dying_engines_leave_nothing_and_every_rollout_ends_as_it_must(tmp_path: Path) -> None:
    settings = {"memory_bytes": MEMORY, "disk_bytes": DISK, "processes": PROCESSES}
    given = json.dumps({"swe": settings})
    with own_engine() as engine, fleet(tmp_path, lease_seconds="8", poll_seconds="4", environments=given) as it:
        engine.take(BASE_IMAGE)
        it.environ["DOCKER_HOST"] = engine.url
        before = objects(engine)
        for process in (it.redis(), it.serve()):
            process.up()
        tasks, recording = hostile_tasks(it, tmp_path)
        oracle, base_url = it.oracle(tasks, "--recording", recording)
        workers = [it.worker(concurrency=EACH, name=f"worker-{i}") for i in range(WORKERS)]
        oracle.up()
        for worker in workers:
            worker.up()
        began = time.monotonic()
        wanted = {"environment": "swe", "model": "oracle", "base_urls": [base_url], "max_attempts": 20}
        wanted["tasks"] = inline(tasks)
        faults = Faults()
        with it.store() as store:
            runs = until_done(store, lambda: str(it.post("/v1/runs", wanted)["id"]), engine, workers, faults)
            took = time.monotonic() - began
            lost = check_ended(store, runs, faults)
        assert [worker.end() for worker in workers] == [0] * WORKERS
        # What a killed worker left is taken away by the next one to start.
        heir = it.worker(name="heir")
        heir.up()
        with contextlib.suppress(AssertionError):
            until(lambda: (objects(engine), born(engine)) == (before, []), "the reaper and watches have been here", 120)
        assert heir.end() == 0
        left = {"objects": objects(engine), "processes": born(engine)}
        unborn = len(engine.processes()) - len(left["processes"])
    print(
        json.dumps(
            {"show": "sandboxes", "rollouts": ROLLOUTS * len(runs), "seconds": round(took, 1), **faults.happened}
        )
    )
    print(json.dumps({"attempts lost": lost, "left": left, "unborn": unborn}))
    assert left == {"objects": before, "processes": []}


def hostile_tasks(it: Fleet, folder: Path) -> tuple[Path, Path]:
    """One planted bug again and again, and what the agent does about each: task file, recording file."""
    source = DEMO / "swe" / "beacon"
    wanted = json.loads((source / "task.json").read_text())
    bug = [Edit(**edit) for edit in wanted.pop("bug")]
    blobs = FolderBlobs(it.home / "blobs")
    task, reference = make_task_from_folder(source / "repository", bug, blobs, repository="beacon", **wanted)
    tasks, recording = folder / "tasks.jsonl", folder / "recording.jsonl"
    with tasks.open("w") as lines, recording.open("w") as moves:
        for n in range(ROLLOUTS):
            kind = KINDS[n % len(KINDS)]
            bound = SECONDS if kind in ("fork bomb", "hangs") else 60.0
            limits = {**task.limits.model_dump(), "tool_seconds": bound}
            one = {**task.model_dump(mode="json"), "id": f"{n}: {kind}", "limits": limits}
            one["question"] = f"{task.question} ({n})"
            lines.write(json.dumps({**one, "reference": reference.data}) + "\n")
            moves.write(json.dumps({"task": one["id"], "actions": actions(kind, reference.data["gold_patch"])}) + "\n")
    return tasks, recording


def actions(kind: str, gold: str) -> list[dict[str, Any]]:
    def bash(command: str) -> dict[str, Any]:
        return {"name": "bash", "arguments": {"command": command}}

    submit = {"name": "submit", "arguments": {}}
    if kind == "nothing done":
        return [bash("ls"), submit]
    if kind == "test planted":
        planted = "import pytest\n\ndef pytest_collection_modifyitems(items):\n    items.clear()\n"
        arguments = {"command": "create", "path": "/testbed/conftest.py", "file_text": planted}
        return [{"name": "str_replace_editor", "arguments": arguments}, submit]
    arguments = {"command": "create", "path": "/tmp/gold.patch", "file_text": gold}
    bring = {"name": "str_replace_editor", "arguments": arguments}
    answers = bash("rm -f fill*; builtin echo ali''ve")
    return [bash("git status --short"), bash(HOSTILE[kind][0]), answers, bring, bash(GOLD), submit]


FLEETING = "scoring container killed"
"""A score takes a moment only, so there is no waiting for its turn."""


def until_done(
    store: Store, submit: Callable[[], str], engine: OwnEngine, workers: list[Process], faults: Faults
) -> list[str]:
    """Something of ours breaks whenever a few more rollouts have ended; returns the runs, all done.

    How many rollouts end beside one fault is the machine's affair: while something has not broken yet, a run that is
    done is followed by another.
    """
    chance = random.Random(7)
    ways: list[tuple[str, Callable[[], bool]]] = [
        ("container killed", lambda: harmed(engine, chance, faults, "killed")),
        ("worker killed", lambda: worker_killed(store, chance.choice(workers))),
        ("container removed", lambda: harmed(engine, chance, faults, "removed")),
        ("engine killed", lambda: restarted(engine, signal.SIGKILL)),
        (FLEETING, lambda: harmed(engine, chance, faults, "scoring")),
        ("engine's disk full", lambda: filled(engine)),
        ("engine restarted", lambda: restarted(engine, signal.SIGTERM)),
    ]
    due = deque(ways)
    deadline = time.monotonic() + 3000
    mark = 2
    runs = [submit()]
    while True:
        accounts = [store.accounts(run) for run in runs]
        assert time.monotonic() < deadline, (accounts, f"not broken yet: {[name for name, _ in due]}")
        if store.run(runs[-1]).finished is not None:
            if len(faults.happened) == len(ways):
                return runs
            runs.append(submit())
        ended = sum(one.succeeded for one in accounts)
        for one in tuple(due):  # what finds nothing to break has its turn later, and holds up nothing
            name, way = one
            if (ended >= mark or name == FLEETING) and way():
                faults.happened[name] += 1
                due.remove(one)
                mark = ended + (EVERY if FULL else 1)
                break
        if FULL and not due:
            due = deque(ways)
        time.sleep(0.1)


def harmed(engine: OwnEngine, chance: random.Random, faults: Faults, how: str) -> bool:
    """One container of an agent (or, where asked, of a score) dies; False where there was none."""
    with contextlib.suppress(DockerException), engine.client() as client:
        found = client.containers.list(ignore_removed=True)
        found = [c for c in found if (c.labels.get("trajc.use") == "score") == (how == "scoring")]
        if not found:
            return False
        container = chance.choice(found)
        if how == "removed":
            container.remove(force=True)
        else:
            container.kill("SIGKILL")
        if how != "scoring":
            labels = container.labels
            faults.attempts.append((labels["trajc.rollout"], int(labels["trajc.attempt"]), how))
        return True
    return False


def worker_killed(store: Store, worker: Process) -> bool:
    """False where it holds no attempt that could be lost."""
    with store.read() as c:
        if not c.execute(sa.select(jobs.c.id).where(jobs.c.owner.endswith(f":{worker.process.pid}"))).all():
            return False
    worker.kill()
    worker.start()
    return True


def restarted(engine: OwnEngine, number: int) -> bool:
    engine.stop(number)
    time.sleep(1.0)
    engine.start()
    return True


def filled(engine: OwnEngine) -> bool:
    with engine.filled():
        time.sleep(4.0)
    return True


def born(engine: OwnEngine) -> list[list[str]]:
    """Programs in containers. An engine that is killed while it starts or ends one forgets its keeper, with none of
    our programs in it: nothing at all, or a `runc init` that waits for a word that never comes."""
    return [inside for inside in engine.processes() if [words.strip() for words in inside] not in ([], ["runc init"])]


def objects(engine: OwnEngine) -> dict[str, list[str]]:
    """Everything that the engine keeps but images."""
    with engine.client() as client:
        return {
            "containers": sorted(f"{c.name} {c.labels}" for c in client.containers.list(all=True, ignore_removed=True)),
            "volumes": sorted(str(v.name) for v in client.volumes.list()),
            "networks": sorted(str(n.name) for n in client.networks.list()),
        }


def check_ended(store: Store, runs: list[str], faults: Faults) -> dict[str, int]:
    """Returns the attempts lost, by class and words."""
    closed = {"submitted": ROLLOUTS, "queued": 0, "running": 0, "succeeded": ROLLOUTS}
    for run in runs:
        accounts = store.accounts(run).as_dict()
        assert accounts == {**closed, "failed": {}, "cancelled": 0, "closes": True}, accounts
    rollouts = {r.id: store.rollout(r.id) for run in runs for r in every_rollout(store, run)}
    assert list(filter(None, (faults_of(c.trajectory, c.score) for c in store.candidates(runs=runs)))) == []
    lost = [(r, a) for r in rollouts.values() for a in r.attempts if a.failure is not None]
    assert {a.failure for _, a in lost} <= {"sandbox_error", "worker_lost"}, [
        (r.task_id, a.failure, a.error) for r, a in lost if a.failure not in ("sandbox_error", "worker_lost")
    ]
    assert {"sandbox_error", "worker_lost"} <= {a.failure for _, a in lost}
    for rollout, attempt, how in faults.attempts:
        outcome = next(a for a in rollouts[rollout].attempts if a.attempt == attempt)
        # Its last command may just have ended, or its worker just been killed too.
        assert outcome.failure in ("sandbox_error", "worker_lost", None), (how, outcome)
    return dict(Counter(f"{a.failure}: {(a.error or '')[:90]}" for _, a in lost).most_common())


def every_rollout(store: Store, run: str) -> Iterator[Any]:
    cursor = None
    while True:
        page = store.rollouts(run=run, cursor=cursor, limit=1000)
        yield from page.items
        if (cursor := page.next) is None:
            return


def faults_of(trajectory: Any, score: Any) -> str:
    """The agent was told what it had done, had an answer to its next command, and got the score that it earned."""
    kind = trajectory.task.id.partition(": ")[2]
    told = [step.result.text for step in trajectory.steps]
    expected = {"nothing done": "no_answer", "test planted": "wrong"}.get(kind, "right")
    well = (trajectory.stop, score.verdict, score.value) == ("answered", expected, float(expected == "right"))
    if kind not in WRONG:
        well = well and HOSTILE[kind][1] in told[1] and "alive" in told[2]
    return "" if well else f"{trajectory.task.id}: {trajectory.stop}, {score}, {told}"
