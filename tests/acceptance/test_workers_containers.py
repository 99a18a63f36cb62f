"""Workers and their containers: none is left, however the worker ends."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from api.service import label_of
from api.settings import Settings
from envs.swe.engine.options import SERVICE
from envs.swe.make.folder import Edit, make_task_from_folder
from rollout.blobs import FolderBlobs
from rollout.store import Store
from tests.acceptance.fleet import DEMO, Fleet, asked, completions, fleet, inline, until
from tests.acceptance.gate import gate, turns_below

pytestmark = [pytest.mark.needs("redis", "docker"), pytest.mark.timeout(600)]
ROLLOUTS = 3


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Fleet]:
    with fleet(tmp_path, lease_seconds="12", poll_seconds="4", shutdown_seconds="2") as it:
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
    return Counter(rollout for rollout, _, _ in listed(it))


def listed(it: Fleet) -> list[tuple[str, str, str]]:
    """Rollout, id and name of each."""
    label = label_of(Settings(home=it.home))
    client = docker.from_env()
    try:
        found = client.containers.list(all=True, filters={"label": f"{SERVICE}={label}"}, ignore_removed=True)
        return [(c.labels.get("trajc.rollout", ""), c.id, c.name) for c in found]
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
    assert worker.end() == 0
    assert containers(site) == {}
    with site.store() as store:
        assert store.accounts(run).queued == ROLLOUTS


def test_a_killed_worker_s_containers_are_removed_and_its_rollouts_are_done(site: Fleet) -> None:
    tasks = planted(site)
    oracle, base_url = site.oracle(tasks)
    killed = site.worker(name="killed")
    oracle.up()
    killed.up()
    with gate(base_url, turns_below(1)) as half_way, site.store() as store:
        run = queue(site, tasks, half_way.url)
        until(lambda: len(half_way.held) == ROLLOUTS, "each has a container and waits for its second turn")
        killed.kill()
        half_way.open()
        assert sum(map(bool, containers(site))) == ROLLOUTS, "they outlive their worker"
        heir = site.worker(name="heir")
        until(lambda: store.run(run).finished is not None, "done")
        assert store.accounts(run).succeeded == ROLLOUTS
        assert sorted(whole(store, run)) == sorted(r.id for r in store.rollouts(run=run).items)
        until(lambda: not any(containers(site)), "the reaper has been here")
        assert heir.end() == 0
        assert containers(site) == {}


def tool(command: str) -> dict[str, Any]:
    return {"name": "bash", "arguments": {"command": command}}


def test_a_container_goes_on_under_the_next_worker_unless_its_state_is_unknown(site: Fleet) -> None:
    """Three rollouts when their worker is killed: one waits for the model, one is in the middle of a tool call, and one
    waits for the model while its container dies as well."""
    pace = [tool(f"echo {i} >> notes; count=$((count + 1)); echo $count") for i in range(6)]
    moves = {
        "waits": [*pace, {"name": "submit"}],
        "calls": [tool("echo 0 >> notes"), tool("echo 1 >> notes; sleep 12"), {"name": "submit"}],
        "dies": [*pace, {"name": "submit"}],
    }
    (task,) = inline(planted(site))
    tasks = [{**task, "id": id, "question": f"{task['question']} ({id})"} for id in moves]
    file, recording = site.home / "three.jsonl", site.home / "three-recording.jsonl"
    file.write_text("".join(json.dumps(one) + "\n" for one in tasks))
    recording.write_text("".join(json.dumps({"task": id, "actions": m}) + "\n" for id, m in moves.items()))
    oracle, base_url = site.oracle(file, "--recording", recording)
    killed = site.worker(name="killed")
    oracle.up()
    killed.up()

    def calls(body: dict[str, Any]) -> bool:
        return any("(calls)" in str(message["content"]) for message in body["messages"])

    # Two wait for their third turn, and only then is the third one's tool called.
    with (
        gate(base_url, lambda body: calls(body) or turns_below(2)(body)) as half_way,
        gate(half_way.url, lambda body: not calls(body) or turns_below(1)(body)) as last,
        site.store() as store,
    ):
        wanted = {"environment": "swe", "model": "oracle", "base_urls": [last.url], "tasks": tasks}
        run = str(site.post("/v1/runs", wanted)["id"])
        rollouts = {r.task_id: r.id for r in store.rollouts(run=run).items}

        def journal(id: str) -> list[str]:
            path = site.home / "journals" / f"{rollouts[id]}.1.jsonl"
            return path.read_text().splitlines() if path.exists() else []

        def turns(id: str) -> int:
            return sum('"index"' in line[:20] for line in journal(id))

        def at(id: str, last: str) -> bool:
            return turns(id) >= 1 and last in journal(id)[-1][:20]

        def waiting(id: str) -> bool:
            return at(id, "standing") and asked(base_url)[id] > turns(id)

        until(lambda: waiting("waits") and waiting("dies") and last.held, "they wait")
        last.open()
        killed.halt_when(lambda: at("calls", "calling") and waiting("waits") and waiting("dies"), "three ways")
        killed.kill()
        before = {rollout: id for rollout, id, _ in listed(site)}
        client = docker.from_env()
        client.containers.get(before[rollouts["dies"]]).kill()
        client.close()
        heir = site.worker(name="heir")
        owned = f"trajc.owner.{rollouts['waits']}.2"
        until(lambda: owned in {name for _, _, name in listed(site)}, "adopted")
        assert {rollout: id for rollout, id, _ in listed(site)}[rollouts["waits"]] == before[rollouts["waits"]]
        half_way.open()
        until(lambda: store.run(run).finished is not None, "done")
        kept = {c.trajectory.task.id: c.trajectory for c in store.candidates(runs=[run])}
        told = {id: [(mark.kind, mark.words) for mark in one.marks] for id, one in kept.items()}
        n = {id: one.marks[0].at_call for id, one in kept.items()}
        not_adopted = "turns were replayed; the session was not adopted:"
        adopted = f"the session was adopted after {n['waits']} turns; none of its tool calls was made again"
        assert told == {
            "waits": [("adopted", adopted)],
            "calls": [("resumed", f"1 {not_adopted} a tool call was under way, or nothing was noted of it")],
            "dies": [("resumed", f"{n['dies']} {not_adopted} its container has ended")],
        }
        texts = [step.result.text for step in kept["waits"].steps[:-1]]
        assert texts == [f"{i + 1}\n" for i in range(6)], "a variable of its shell counts on"
        paid = completions(base_url)
        assert {id: paid[id] - len(moves[id]) for id in moves} == {"waits": 1, "calls": 1, "dies": 1}, (
            "the turns in flight"
        )
        assert not any(containers(site)), "what was not adopted is gone before the reaper comes"
        assert heir.end() == 0
