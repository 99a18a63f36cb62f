"""Workers and their containers: none is left, however the worker ends."""

import json
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from api.service import open_service
from api.settings import Settings
from envs.swe.engine.options import SERVICE
from envs.swe.make.folder import Edit, make_task_from_folder
from rollout.blobs import FolderBlobs
from rollout.store import Store
from tests.acceptance.fleet import DEMO, Fleet, fleet, inline, until

pytestmark = [pytest.mark.needs("redis", "docker"), pytest.mark.timeout(600)]
ROLLOUTS = 3


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Fleet]:
    with fleet(tmp_path, lease_seconds="6", poll_seconds="4", shutdown_seconds="2") as it:
        for process in (it.redis(), it.serve()):
            process.up()
        yield it


def planted(it: Fleet) -> Path:
    """One of the demo's planted bugs, as often as there are rollouts."""
    path = it.home / "swe.jsonl"
    folder = DEMO / "swe" / "beacon"
    wanted = json.loads((folder / "task.json").read_text())
    bug = [Edit(**edit) for edit in wanted.pop("bug")]
    blobs = FolderBlobs(it.home / "blobs")
    task, reference = make_task_from_folder(folder / "repository", bug, blobs, repository="beacon", **wanted)
    path.write_text(json.dumps({**task.model_dump(mode="json"), "reference": reference.data}) + "\n")
    return path


def queue(it: Fleet, tasks: Path, base_url: str) -> str:
    wanted = {"environment": "swe", "model": "oracle", "base_urls": [base_url], "samples": ROLLOUTS}
    return str(it.post("/v1/runs", {**wanted, "tasks": inline(tasks)})["id"])


def containers(it: Fleet) -> dict[str, int]:
    """This installation's containers by the rollout that owns them, whatever their state."""
    with open_service(Settings(home=it.home)) as service:
        label = service.label
    client = docker.from_env()
    try:
        found = client.containers.list(all=True, filters={"label": f"{SERVICE}={label}"}, ignore_removed=True)
        return Counter(c.labels.get("trajc.rollout", "") for c in found)
    finally:
        client.close()


def whole(store: Store, run: str) -> list[Any]:
    return [c.trajectory.rollout for c in store.candidates(runs=[run])]


def test_sigterm_leaves_no_container(site: Fleet) -> None:
    tasks = planted(site)
    oracle, base_url = site.oracle(tasks, "--latency", "60")
    worker = site.worker()
    oracle.up()
    worker.up()
    run = queue(site, tasks, base_url)
    until(lambda: sum(map(bool, containers(site))) == ROLLOUTS, "a container for each rollout")
    assert worker.end(40.0) == 0
    assert containers(site) == {}
    with site.store() as store:
        assert store.accounts(run).queued == ROLLOUTS


def test_a_killed_worker_s_containers_are_removed_and_its_rollouts_are_done(site: Fleet) -> None:
    tasks = planted(site)
    oracle, base_url = site.oracle(tasks, "--latency", "1.5")
    killed = site.worker(name="killed")
    oracle.up()
    killed.up()
    run = queue(site, tasks, base_url)
    with site.store() as store:
        until(lambda: sum(map(bool, containers(site))) == ROLLOUTS, "a container for each rollout")
        killed.kill()
        assert sum(map(bool, containers(site))) == ROLLOUTS, "they outlive their worker"
        heir = site.worker(name="heir")
        until(lambda: store.run(run).finished is not None, "done")
        assert store.accounts(run).succeeded == ROLLOUTS
        assert sorted(whole(store, run)) == sorted(r.id for r in store.rollouts(run=run).items)
        until(lambda: not any(containers(site)), "the reaper has been here", 150.0)
        heir.process.send_signal(signal.SIGTERM)
        assert heir.process.wait(40) == 0
        assert containers(site) == {}
