"""What is Docker's own: containers that die, are removed, are started by the dozen."""

import asyncio
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from envs.errors import SandboxError
from envs.swe.engine.engine import DockerSandboxes
from envs.swe.sandbox import SandboxSpec
from tests.acceptance.engine import own_engine

pytestmark = pytest.mark.needs("docker")


async def test_a_shell_that_ended_starts_anew_in_its_directory_with_what_was_exported(
    docker_sandboxes: DockerSandboxes, spec: SandboxSpec
) -> None:
    box = await docker_sandboxes.start(spec)
    await box.run("cd /tmp; export A=1; b=2; sleep 600 &", 60)
    ended = await box.run("exit 7", 60)
    after = await box.run('pwd; echo "[$A][$b]"; pgrep -c -u agent sleep', 60)
    assert (ended.code, ended.fresh_shell) == (7, True)
    assert after.data == b"/tmp\n[1][]\n1\n"


async def test_a_container_that_died_is_a_sandbox_error(docker_sandboxes: DockerSandboxes, spec: SandboxSpec) -> None:
    box = await docker_sandboxes.start(spec)
    await box.run("echo well", 60)
    await docker_sandboxes.client.containers.container(box.id).kill(signal="SIGKILL")
    with pytest.raises(SandboxError, match="container"):
        await box.run("echo still", 60)
    again = await docker_sandboxes.start(spec)
    running = asyncio.create_task(again.run("sleep 60", 60))
    await asyncio.sleep(0.5)
    await docker_sandboxes.client.containers.container(again.id).kill(signal="SIGKILL")
    with pytest.raises(SandboxError, match="container"):
        await running


async def test_a_program_that_meets_a_container_just_dead_is_the_sandboxes_failure_and_no_answer(
    docker_sandboxes: DockerSandboxes, spec: SandboxSpec
) -> None:
    for _ in range(4):
        box = await docker_sandboxes.start(spec)
        state = (await docker_sandboxes.client.containers.container(box.id).show())["State"]
        os.kill(state["Pid"], signal.SIGKILL)
        with pytest.raises(SandboxError):
            await box.execute(["echo", "an answer"], 60)
        await box.close()


async def test_a_closed_sandbox_is_gone_and_may_be_closed_again(
    docker_sandboxes: DockerSandboxes, spec: SandboxSpec
) -> None:
    box = await docker_sandboxes.start(spec)
    await box.run("sleep 600 &", 60)
    await box.close()
    await box.close()
    left = await docker_sandboxes.client.containers.list(all=True, filters={"id": [box.id]})
    assert left == []
    with pytest.raises(SandboxError, match="closed"):
        await box.run("echo", 60)


async def test_a_cancelled_command_leaves_a_sandbox_that_can_be_closed(
    docker_sandboxes: DockerSandboxes, spec: SandboxSpec
) -> None:
    box = await docker_sandboxes.start(spec)
    running = asyncio.create_task(box.run("sleep 60", 60))
    await asyncio.sleep(0.3)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await box.close()
    assert await docker_sandboxes.client.containers.list(all=True, filters={"id": [box.id]}) == []


async def test_thirty_two_starts_at_once_all_succeed_without_a_network_each(
    docker_sandboxes: DockerSandboxes, spec: SandboxSpec
) -> None:
    networks = len(await docker_sandboxes.client.networks.list())
    boxes = await asyncio.gather(*(docker_sandboxes.start(spec) for _ in range(32)))
    try:
        said = await asyncio.gather(*(box.run(f"echo {n}", 60) for n, box in enumerate(boxes)))
        assert [s.data for s in said] == [f"{n}\n".encode() for n in range(32)]
        assert len(await docker_sandboxes.client.networks.list()) == networks
    finally:
        await asyncio.gather(*(box.close() for box in boxes))


async def test_an_image_that_is_not_there_is_one_clear_sentence(
    docker_sandboxes: DockerSandboxes, spec: SandboxSpec
) -> None:
    with pytest.raises(SandboxError, match=r"no-such-image:7.*pull or build it first") as caught:
        await docker_sandboxes.start(replace(spec, image="no-such-image:7"))
    assert "\n" not in str(caught.value)


async def test_a_restart_of_the_engine_costs_those_who_start_a_wait_and_no_failure(spec: SandboxSpec) -> None:
    with own_engine() as engine:
        engine.take(spec.image)
        away, hasty = DockerSandboxes(engine.url), DockerSandboxes(engine.url, patience=1.0)
        try:
            for sandboxes in (away, hasty):
                await (await sandboxes.start(spec)).close()
            engine.stop()
            starting = asyncio.create_task(away.start(spec))
            await asyncio.sleep(1.5)
            assert not starting.done()
            await asyncio.to_thread(engine.start)
            await (await starting).close()
            engine.stop()
            with pytest.raises(SandboxError, match="no Docker engine answers"):
                await hasty.start(spec)
        finally:
            await away.close()
            await hasty.close()


async def test_an_engine_that_starts_after_its_worker_is_waited_for(tmp_path: Path, spec: SandboxSpec) -> None:
    async def answer(_: web.BaseRequest) -> web.Response:
        return web.json_response({"message": "no such image"}, status=404)

    early = DockerSandboxes(f"unix://{tmp_path / 'docker.sock'}", first=30)
    starting = asyncio.create_task(early.start(spec))
    await asyncio.sleep(0.2)
    assert not starting.done()
    engine = web.ServerRunner(web.Server(answer))
    await engine.setup()
    await web.UnixSite(engine, str(tmp_path / "docker.sock")).start()
    with pytest.raises(SandboxError, match="no such image"):
        await starting
    await early.close()
    await engine.cleanup()


async def test_no_engine_is_one_clear_sentence(spec: SandboxSpec) -> None:
    nowhere = DockerSandboxes("unix:///nowhere/docker.sock", patience=900)
    began = time.monotonic()
    with pytest.raises(SandboxError, match="no Docker engine answers; start it") as caught:
        await nowhere.start(spec)
    assert "\n" not in str(caught.value)
    assert time.monotonic() - began < 600, "an engine that is not there is not asked again and again"
    await nowhere.close()
