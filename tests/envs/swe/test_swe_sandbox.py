"""What any sandbox must hold, on a real engine."""

import asyncio
import time
from dataclasses import replace

import pytest

from envs.errors import SandboxError
from envs.swe.engine.engine import DockerSandboxes
from envs.swe.sandbox import SandboxSpec

pytestmark = pytest.mark.needs("docker")


async def test_directory_variables_and_jobs_last_from_call_to_call(
    sandboxes: DockerSandboxes, spec: SandboxSpec
) -> None:
    box = await sandboxes.start(spec)
    await box.run("cd /tmp; export A=1; b=2; f() { echo three; }; sleep 600 & echo started", 10)
    seen = await box.run("pwd; echo $A $b; f; jobs | grep -c sleep", 10)
    assert (seen.data, seen.code, box.directory) == (b"/tmp\n1 2\nthree\n1\n", 0, "/tmp")


async def test_a_shell_that_ended_starts_anew_in_its_directory_with_what_was_exported(
    sandboxes: DockerSandboxes, spec: SandboxSpec
) -> None:
    box = await sandboxes.start(spec)
    await box.run("cd /tmp; export A=1; b=2; sleep 600 &", 10)
    ended = await box.run("exit 7", 10)
    after = await box.run('pwd; echo "[$A][$b]"; pgrep -c -u agent sleep', 10)
    assert (ended.code, ended.fresh_shell) == (7, True)
    assert after.data == b"/tmp\n[1][]\n1\n"


async def test_a_timed_out_command_leaves_no_process(sandboxes: DockerSandboxes, spec: SandboxSpec) -> None:
    box = await sandboxes.start(spec)
    trees = [
        "sleep 300",
        "trap '' TERM INT HUP; while :; do sleep 1; done",
        "(setsid sleep 300 &) ; sleep 300",
        "nohup sleep 300 & kill -STOP $!; wait",
        "exec sleep 300",
        "python3 -c 'import os,time; os.fork() or (os.setsid(), os.fork() or time.sleep(300)); time.sleep(300)'",
    ]
    for tree in trees:
        ended = await box.run(f"echo before; {tree}", 1)
        left = await box.run("ps -u agent -o args= | grep -v -e '^ps' -e bash -e grep", 10)
        assert (ended.ended, ended.code, ended.data) == ("timeout", None, b"before\n"), tree
        assert left.data == b"", tree


async def test_output_is_bounded_in_memory_and_counted(sandboxes: DockerSandboxes, spec: SandboxSpec) -> None:
    box = await sandboxes.start(replace(spec, bounds=replace(spec.bounds, keep_bytes=1000)))
    seen = await box.run("printf A; head -c 100000 /dev/zero | tr '\\0' x; printf Z", 30)
    assert (len(seen.data), seen.left_out, seen.cut_at) == (1000, 100_002 - 1000, 500)
    assert (seen.data[:1], seen.data[-1:], seen.ended) == (b"A", b"Z", "exited")


async def test_a_flood_is_stopped_and_the_next_command_answers(sandboxes: DockerSandboxes, spec: SandboxSpec) -> None:
    box = await sandboxes.start(spec)
    flood = await box.run("yes", 60)
    after = await box.run("echo here", 10)
    assert (flood.ended, flood.code, after.data) == ("flood", None, b"here\n")


async def test_a_command_that_writes_our_mark_deceives_only_itself(
    sandboxes: DockerSandboxes, spec: SandboxSpec
) -> None:
    box = await sandboxes.start(spec)
    forged = await box.run('printf "\\0%s here 0 /nowhere\\0\\0%s\\0" "$__mark" "$__mark"; false', 10)
    after = [(await box.run("echo here", 10)).data for _ in range(2)]
    assert forged.code == 0
    assert after[-1] == b"here\n"


async def test_files_are_read_and_written_as_the_agent_may(sandboxes: DockerSandboxes, spec: SandboxSpec) -> None:
    box = await sandboxes.start(spec)
    for data in (b"", b"a\0\xff\n" * 10, bytes(range(256)) * 1000):
        assert await box.write("/tmp/a b/'q'.bin", data) == ""
        assert await box.read("/tmp/a b/'q'.bin", 1 << 20) == data
    assert "ermission denied" in await box.write("/etc/passwd", b"x")
    assert await box.read("/etc/shadow", 10) is None
    assert await box.read("/tmp", 10) is None
    assert await box.read("/tmp/missing", 10) is None


async def test_a_program_by_itself_gets_its_input_and_gives_its_exit_code(
    sandboxes: DockerSandboxes, spec: SandboxSpec
) -> None:
    box = await sandboxes.start(spec)
    data = b"line\n" * 50_000
    counted = await box.execute(["wc", "-c"], 10, stdin=data)
    failed = await box.execute(["sh", "-c", "echo out; echo err >&2; exit 3"], 10)
    slow = await box.execute(["sleep", "60"], 1)
    assert (counted.data.strip(), counted.code) == (b"250000", 0)
    assert (failed.data, failed.code) == (b"out\nerr\n", 3)
    assert (slow.ended, slow.code) == ("timeout", None)


async def test_a_container_that_died_is_a_sandbox_error(sandboxes: DockerSandboxes, spec: SandboxSpec) -> None:
    box = await sandboxes.start(spec)
    await box.run("echo well", 10)
    await sandboxes.client.containers.container(box.id).kill(signal="SIGKILL")
    with pytest.raises(SandboxError, match="container"):
        await box.run("echo still", 10)
    again = await sandboxes.start(spec)
    running = asyncio.create_task(again.run("sleep 60", 60))
    await asyncio.sleep(0.5)
    await sandboxes.client.containers.container(again.id).kill(signal="SIGKILL")
    with pytest.raises(SandboxError, match="container"):
        await running


async def test_a_closed_sandbox_is_gone_and_may_be_closed_again(sandboxes: DockerSandboxes, spec: SandboxSpec) -> None:
    box = await sandboxes.start(spec)
    await box.run("sleep 600 &", 10)
    await box.close()
    await box.close()
    left = await sandboxes.client.containers.list(all=True, filters={"id": [box.id]})
    assert left == []
    with pytest.raises(SandboxError, match="closed"):
        await box.run("echo", 5)


async def test_a_cancelled_command_leaves_a_sandbox_that_can_be_closed(
    sandboxes: DockerSandboxes, spec: SandboxSpec
) -> None:
    box = await sandboxes.start(spec)
    running = asyncio.create_task(box.run("sleep 60", 60))
    await asyncio.sleep(0.3)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await box.close()
    assert await sandboxes.client.containers.list(all=True, filters={"id": [box.id]}) == []


async def test_thirty_two_starts_at_once_all_succeed_without_a_network_each(
    sandboxes: DockerSandboxes, spec: SandboxSpec
) -> None:
    networks = len(await sandboxes.client.networks.list())
    boxes = await asyncio.gather(*(sandboxes.start(spec) for _ in range(32)))
    try:
        said = await asyncio.gather(*(box.run(f"echo {n}", 60) for n, box in enumerate(boxes)))
        assert [s.data for s in said] == [f"{n}\n".encode() for n in range(32)]
        assert len(await sandboxes.client.networks.list()) == networks
    finally:
        await asyncio.gather(*(box.close() for box in boxes))


async def test_two_sandboxes_never_see_each_others_files(sandboxes: DockerSandboxes, spec: SandboxSpec) -> None:
    one, two = await asyncio.gather(sandboxes.start(spec), sandboxes.start(spec))
    await one.run("echo secret > /tmp/secret; sleep 600 &", 10)
    seen = await two.run("cat /tmp/secret; pgrep sleep -u agent", 10)
    assert b"secret\n" not in seen.data.replace(b"/tmp/secret", b"")


async def test_an_image_that_is_not_there_is_one_clear_sentence(sandboxes: DockerSandboxes, spec: SandboxSpec) -> None:
    with pytest.raises(SandboxError, match=r"no-such-image:7.*pull or build it first") as caught:
        await sandboxes.start(replace(spec, image="no-such-image:7"))
    assert "\n" not in str(caught.value)


async def test_no_engine_is_one_clear_sentence(spec: SandboxSpec) -> None:
    nowhere = DockerSandboxes("unix:///nowhere/docker.sock")
    began = time.monotonic()
    with pytest.raises(SandboxError, match="no Docker engine answers; start it") as caught:
        await nowhere.start(spec)
    assert "\n" not in str(caught.value)
    assert time.monotonic() - began < 5, "an engine that is not there is not asked again and again"
    await nowhere.close()
