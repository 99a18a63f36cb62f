"""Containers that a crash left behind are found by their labels and removed."""

import asyncio
import contextlib
import json
import os
import signal
import threading
from dataclasses import replace

import pytest

from envs.swe.engine.engine import DockerSandboxes, reap
from envs.swe.sandbox import SandboxSpec
from tests.acceptance.engine import own_engine
from tests.acceptance.fleet import until

pytestmark = pytest.mark.needs("docker")
SERVICE = f"trajc-reaper-{os.getpid()}"


async def running(docker_sandboxes: DockerSandboxes) -> set[str]:
    found = await docker_sandboxes.client.containers.list(all=True, filters={"label": [f"trajc.service={SERVICE}"]})
    return {f"{c['Labels']['trajc.rollout']}/{c['Labels']['trajc.attempt']}" for c in found}


async def test_only_what_no_live_lease_owns_is_removed(docker_sandboxes: DockerSandboxes, spec: SandboxSpec) -> None:
    def owned(attempt: str, host: str = "here", seconds: float = 600) -> SandboxSpec:
        rollout, _, number = attempt.partition("/")
        labels = {"service": SERVICE, "run": "r", "rollout": rollout, "attempt": number, "host": host}
        return replace(spec, labels=labels, seconds=seconds)

    for one in (owned("a/1"), owned("b/1"), owned("c/1", host="elsewhere"), owned("d/1", seconds=-1)):
        await docker_sandboxes.start(one)
    try:
        assert await reap(docker_sandboxes.client, live={"a/1", "d/1"}, service="another service") == 0
        assert await reap(docker_sandboxes.client, live={"a/1", "d/1"}, service=SERVICE, host="here") == 2
        assert await running(docker_sandboxes) == {"a/1", "c/1"}, (
            "d has expired though its lease lives, c is another host's"
        )
    finally:
        await reap(docker_sandboxes.client, live=(), service=SERVICE)
    assert await running(docker_sandboxes) == set()


class Asked(set[str]):
    """Remembers the threads that it was asked in."""

    threads: set[int] = set()

    def __contains__(self, owner: object) -> bool:
        self.threads.add(threading.get_ident())
        return super().__contains__(owner)


async def test_the_reaper_s_questions_hold_up_no_rollout(docker_sandboxes: DockerSandboxes, spec: SandboxSpec) -> None:
    labels = {"service": SERVICE, "run": "r", "rollout": "a", "attempt": "1", "host": "here"}
    await docker_sandboxes.start(replace(spec, labels=labels))
    live = Asked()
    assert await reap(docker_sandboxes.client, live=live, service=SERVICE) == 1
    assert live.threads
    assert threading.get_ident() not in live.threads, "it was asked on the event loop"


async def test_a_start_that_is_cancelled_at_any_moment_leaves_no_container(
    docker_sandboxes: DockerSandboxes, spec: SandboxSpec
) -> None:
    for n in range(30):
        starting = asyncio.create_task(docker_sandboxes.start(spec))
        await asyncio.sleep(n / 500)
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await (await starting).close()
    mine = {"label": [f"trajc.service={spec.labels['service']}"]}
    assert await docker_sandboxes.client.containers.list(all=True, filters=mine) == []


async def test_a_forgotten_container_ends_by_itself(docker_sandboxes: DockerSandboxes, spec: SandboxSpec) -> None:
    box = await docker_sandboxes.start(replace(spec, seconds=1))
    state = await docker_sandboxes.client.containers.container(box.id).wait(timeout=600)
    assert state["StatusCode"] == 0


async def test_an_engine_killed_before_it_noted_a_start_leaves_no_process(spec: SandboxSpec) -> None:
    """On restart it held the container for one never started, and removed its record alone."""
    with own_engine() as engine:
        engine.take(spec.image)
        sandboxes = DockerSandboxes(engine.url)
        box = await sandboxes.start(spec)
        engine.stop(signal.SIGKILL)
        note = engine.disk / "data" / "containers" / box.id / "config.v2.json"
        noted = json.loads(note.read_text())
        noted["State"] |= {"Running": False, "Pid": 0, "StartedAt": "0001-01-01T00:00:00Z"}
        note.write_text(json.dumps(noted))
        await asyncio.to_thread(engine.start)
        assert "until [" in str(engine.processes()), "it is to outlive its engine"
        await sandboxes.client.containers.container(box.id).delete(force=True)
        await asyncio.to_thread(until, lambda: "until [" not in str(engine.processes()), "the watch has ended")
        await sandboxes.close()


async def test_an_agent_that_uses_up_all_processes_in_the_background_ends_no_container(
    docker_sandboxes: DockerSandboxes, spec: SandboxSpec
) -> None:
    """A watch that had to start a process ended when it could not, within a minute."""
    box = await docker_sandboxes.start(spec)
    look = "ps -o pid=,comm= --ppid 1"
    first = (await box.run(look, 60)).data
    assert first.split()[1:] == [b"bash"], "it starts no program, and one process only"
    assert (await box.run(f"(sleep 0.1 &) ; sleep 3; {look}", 60)).data == first, "those of others are buried at once"
