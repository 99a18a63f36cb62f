"""What any sandbox must hold, on each real kind of it."""

import asyncio
import os
import socket
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
import uvloop

from envs.blobs import MemoryBlobs
from envs.environment import Site
from envs.errors import TaskError
from envs.swe.bubblewrap import BubblewrapSandboxes
from envs.swe.engine.owner import this_process
from envs.swe.environment import SweEnvironment
from envs.swe.machine import DISK_SECONDS
from envs.swe.sandbox import Output, Sandbox, Sandboxes, SandboxSpec
from envs.task import Reference, Task
from tests.envs.swe.conftest import rootfs


async def test_directory_variables_and_jobs_last_from_call_to_call(sandboxes: Sandboxes, spec: SandboxSpec) -> None:
    box = await sandboxes.start(spec)
    await box.run("cd /tmp; export A=1; b=2; f() { echo three; }; sleep 600 & echo started", 60)
    seen = await box.run("pwd; echo $A $b; f; jobs | grep -c sleep", 60)
    assert (seen.data, seen.code, box.directory) == (b"/tmp\n1 2\nthree\n1\n", 0, "/tmp")


async def test_a_timed_out_command_leaves_no_process(sandboxes: Sandboxes, spec: SandboxSpec) -> None:
    trees = [
        "sleep 300",
        "trap '' TERM INT HUP; while :; do sleep 1; done",
        "(setsid sleep 300 &) ; sleep 300",
        "nohup sleep 300 & kill -STOP $!; wait",
        "exec sleep 300",
        "python3 -c 'import os,time; os.fork() or (os.setsid(), os.fork() or time.sleep(300)); time.sleep(300)'",
    ]
    boxes = await asyncio.gather(*(sandboxes.start(spec) for _ in trees))

    async def ends(box: Sandbox, tree: str) -> None:
        ended = await box.run(f"echo before; {tree}", 5)
        left = await box.run("ps -u agent -o args= | grep -v -e '^ps' -e bash -e grep", 60)
        assert (ended.ended, ended.code, ended.data) == ("timeout", None, b"before\n"), tree
        assert left.data == b"", tree

    await asyncio.gather(*map(ends, boxes, trees))


async def test_output_is_bounded_in_memory_and_counted(sandboxes: Sandboxes, spec: SandboxSpec) -> None:
    box = await sandboxes.start(replace(spec, bounds=replace(spec.bounds, keep_bytes=1000)))
    seen = await box.run("printf A; head -c 100000 /dev/zero | tr '\\0' x; printf Z", 60)
    assert (len(seen.data), seen.left_out, seen.cut_at) == (1000, 100_002 - 1000, 500)
    assert (seen.data[:1], seen.data[-1:], seen.ended) == (b"A", b"Z", "exited")


async def test_a_flood_is_stopped_and_the_next_command_answers(sandboxes: Sandboxes, spec: SandboxSpec) -> None:
    box = await sandboxes.start(spec)
    flood = await box.run("yes", 60)
    after = await box.run("echo here", 60)
    assert (flood.ended, flood.code, after.data) == ("flood", None, b"here\n")


async def test_the_processes_that_an_agent_sees_name_no_folder_of_the_host(
    sandboxes: Sandboxes, spec: SandboxSpec
) -> None:
    box = await sandboxes.start(spec)
    seen = await box.run("cat /proc/[0-9]*/cmdline | tr '\\0' ' '; cat /proc/1/environ", 60)
    assert b"bash" in seen.data
    assert [place for place in (b"trajc-bwrap", str(rootfs()).encode()) if place in seen.data] == []


async def test_what_an_agent_sees_of_its_first_process_does_not_tell_how_many_files_are_open_outside(
    sandboxes: Sandboxes, spec: SandboxSpec
) -> None:
    look = "tr '\\0' ' ' < /proc/1/cmdline; ls /proc/self/fd"
    seen = [(await (await sandboxes.start(spec)).run(look, 60)).data]
    held = [os.open("/dev/null", os.O_RDONLY) for _ in range(9)]
    try:
        seen.append((await (await sandboxes.start(spec)).run(look, 60)).data)
    finally:
        for descriptor in held:
            os.close(descriptor)
    assert seen[0] == seen[1]


async def test_a_command_that_writes_our_mark_deceives_only_itself(sandboxes: Sandboxes, spec: SandboxSpec) -> None:
    box = await sandboxes.start(spec)
    forged = await box.run('printf "\\0%s here 0 /nowhere\\0\\0%s\\0" "$__mark" "$__mark"; false', 60)
    after = [(await box.run("echo here", 60)).data for _ in range(2)]
    assert forged.code == 0
    assert after[-1] == b"here\n"


async def test_files_are_read_and_written_as_the_agent_may(sandboxes: Sandboxes, spec: SandboxSpec) -> None:
    box = await sandboxes.start(spec)
    for data in (b"", b"a\0\xff\n" * 10, bytes(range(256)) * 1000):
        assert await box.write("/tmp/a b/'q'.bin", data) == ""
        assert await box.read("/tmp/a b/'q'.bin", 1 << 20) == data
    assert "/etc/passwd: " in await box.write("/etc/passwd", b"x")
    assert b"agent" in (await box.read("/etc/passwd", 1 << 20) or b"")
    assert await box.read("/etc/shadow", 10) is None
    assert await box.read("/tmp", 10) is None
    assert await box.read("/tmp/missing", 10) is None


async def test_a_program_by_itself_gets_its_input_and_gives_its_exit_code(
    sandboxes: Sandboxes, spec: SandboxSpec
) -> None:
    box = await sandboxes.start(spec)
    data = b"line\n" * 50_000
    counted = await box.execute(["wc", "-c"], 60, stdin=data)
    failed = await box.execute(["sh", "-c", "echo out; echo err >&2; exit 3"], 60)
    slow = await box.execute(["sleep", "60"], 1)
    assert (counted.data.strip(), counted.code) == (b"250000", 0)
    assert (failed.data, failed.code) == (b"out\nerr\n", 3)
    assert (slow.ended, slow.code) == ("timeout", None)


async def test_two_sandboxes_never_see_each_others_files(sandboxes: Sandboxes, spec: SandboxSpec) -> None:
    one, two = await asyncio.gather(sandboxes.start(spec), sandboxes.start(spec))
    await one.run("echo secret > /tmp/secret; sleep 600 &", 60)
    seen = await two.run("cat /tmp/secret; pgrep sleep -u agent", 60)
    assert b"secret\n" not in seen.data.replace(b"/tmp/secret", b"")


async def test_a_full_disk_ends_the_command_and_can_be_emptied(sandboxes: Sandboxes, spec: SandboxSpec) -> None:
    box = await sandboxes.start(replace(spec, bounds=replace(spec.bounds, disk_bytes=64 << 20)))
    small = await box.run("head -c 1M /dev/zero > small; sleep 1.2; echo fine", 60)
    filled = await box.run("for n in 1 2 3; do head -c 50M /dev/zero > /tmp/f$n; done; sleep 60; echo never", 50)
    emptied = await box.run("rm /tmp/f*; sleep 1.2; echo fine", 60)
    assert [(o.ended, o.data) for o in (small, filled, emptied)] == [
        ("exited", b"fine\n"),
        ("disk", b""),
        ("exited", b"fine\n"),
    ]


async def test_short_commands_fill_no_more_of_the_disk_than_a_long_one(sandboxes: Sandboxes, spec: SandboxSpec) -> None:
    box = await sandboxes.start(replace(spec, bounds=replace(spec.bounds, disk_bytes=50 << 20)))
    ended = [(await box.run("fallocate -l 100M /tmp/a", 60)).ended]  # "disk" where the machine let it wait for long
    await asyncio.sleep(DISK_SECONDS)
    ended.append((await box.run("fallocate -l 1M /tmp/b", 60)).ended)
    assert "disk" in ended


async def test_no_folder_takes_more_of_the_machine_s_memory_than_it_may(
    sandboxes: Sandboxes, spec: SandboxSpec
) -> None:
    box = await sandboxes.start(spec)
    filled = await box.run(
        "for f in /dev /run /dev/shm /dev/pts /proc /sys /var/lib /home /; do head -c 200M /dev/zero > $f/fill; "
        "stat -c '%n %s' $f/fill; done 2>/dev/null",
        60,
    )
    sizes = {line.split()[0]: int(line.split()[1]) for line in filled.data.decode().splitlines()}
    assert all(size <= spec.bounds.shared_memory_bytes for size in sizes.values()), sizes
    assert "/dev/shm/fill" in sizes
    assert (await box.run("echo x > /dev/null; head -c 2 /dev/urandom | wc -c", 60)).data == b"2\n"


async def test_folders_deeper_than_any_path_are_counted_and_removed(sandboxes: Sandboxes, spec: SandboxSpec) -> None:
    box = await sandboxes.start(replace(spec, bounds=replace(spec.bounds, disk_bytes=64 << 20)))
    dug = await box.run(
        'python3 -c \'import os\nfor n in range(3000): os.mkdir("d"); os.chdir("d")\n'
        'open("fill", "wb").write(bytes(100 << 20))\nimport time; time.sleep(2)\'',
        30,
    )
    assert dug.ended == "disk"
    assert (await box.run("echo alive", 60)).data == b"alive\n"
    folder = getattr(box, "_folder", None)
    await box.close()
    assert folder is None or not folder.exists()


@pytest.mark.needs("bubblewrap")
def test_bubblewrap_works_on_the_loop_that_servers_run_on(spec: SandboxSpec) -> None:
    async def once() -> Output:
        box = await BubblewrapSandboxes(rootfs()).start(spec)
        try:
            return await box.run("id -u; echo here", 60)
        finally:
            await box.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(once()).data == b"1000\nhere\n"


DYING = {
    "it is killed a moment later": "exec 9> ~/held; flock 9; (sleep 0.3; kill -9 $$) & echo left",
    "all is killed a moment later": "exec 9> ~/held; flock 9; (sleep 0.3; kill -9 -1) & echo left",
    "its input is closed": 'for n in $(seq 3 300); do eval "exec $n>&-"; done; echo left',
    "it can open no file": "ulimit -n 0; echo left",
}
"""The first two hold what comes free when they are dead."""


async def nobody_holds(box: Sandbox) -> None:
    async with asyncio.timeout(120):
        while (await box.execute(["flock", "/home/agent/held", "true"], 60)).code != 0:
            pass  # it was killed with all the others


async def test_a_shell_that_dies_between_two_commands_costs_no_answer(sandboxes: Sandboxes, spec: SandboxSpec) -> None:
    box = await sandboxes.start(spec)
    for name, deadly in DYING.items():
        assert (await box.run(f"cd /tmp; kept=1; {deadly}", 60)).data.startswith(b"left\n"), name
        await nobody_holds(box)
        again = await box.run("pwd; echo $kept", 60)
        assert (again.data, again.code) == (b"/tmp\n\n", 0), name


async def test_a_command_may_open_its_own_output_again(sandboxes: Sandboxes, spec: SandboxSpec) -> None:
    box = await sandboxes.start(spec)
    ways = "echo 1 > /dev/stdout; echo 2 > /dev/stderr; echo 3 | tee /dev/fd/1 > /dev/null; echo 4 | cat > /dev/stdout"
    assert (await box.run(ways, 60)).data == b"1\n2\n4\n"
    assert (await box.execute(["/bin/sh", "-c", "echo 5 > /dev/stderr"], 60)).data == b"5\n"


async def test_a_command_that_ends_its_own_shell_is_not_run_twice(sandboxes: Sandboxes, spec: SandboxSpec) -> None:
    box = await sandboxes.start(spec)
    for deadly in ("kill -9 $$; sleep 9", "exit 3", "exec true", "trap 'kill -9 $$' DEBUG; true"):
        await box.run(f"echo once >> ~/times; {deadly}", 60)
    assert (await box.run("wc -l < ~/times", 60)).data == b"4\n"


async def test_what_a_command_writes_into_its_shells_input_keeps_no_other_waiting(
    sandboxes: Sandboxes, spec: SandboxSpec
) -> None:
    box = await sandboxes.start(spec)
    await box.run("for f in /proc/$$/fd/*; do echo rubbish > $f; done 2>/dev/null; sleep 0.2", 60)
    again = await box.run("echo answered", 60)
    assert (again.data[-9:], again.code) == (b"answered\n", 0)


@pytest.mark.needs("bubblewrap")
async def test_the_folders_of_a_process_that_was_killed_are_removed(spec: SandboxSpec) -> None:
    host = socket.gethostname()
    dead, alive = (Path(tempfile.mkdtemp(prefix=f"trajc-bwrap-{p}-")) for p in (f"{host}:{1 << 30}:1", this_process()))
    box = await BubblewrapSandboxes(rootfs()).start(spec)
    await box.close()
    assert (dead.exists(), alive.exists()) == (False, True)
    alive.rmdir()


async def test_a_function_that_is_called_like_a_word_of_ours_takes_no_command(
    sandboxes: Sandboxes, spec: SandboxSpec
) -> None:
    box = await sandboxes.start(spec)
    for name in ("eval", "read", "printf", "export", "exit", "trap", "set", "jobs"):
        await box.run(f"{name}() {{ echo taken; }}", 60)
    assert (await box.run("A=1; echo here", 60)).data == b"here\n"
    assert (await box.run("echo $A; false", 60)).code == 1


@pytest.mark.needs("bubblewrap")
def test_a_workdir_that_leads_out_is_no_folder_of_the_host(
    tmp_path: Path, blobs: MemoryBlobs, pair: tuple[Task, Reference]
) -> None:
    owner = tmp_path.stat().st_uid
    task = pair[0].model_copy(update={"world": {**pair[0].world, "workdir": f"/x{'/..' * 12}{tmp_path}"}})
    world = SweEnvironment(Site(tmp_path, blobs, {"sandbox": "bubblewrap", "rootfs": str(rootfs())}))
    with pytest.raises(TaskError, match="must be an absolute path below /"):
        asyncio.run(world.start(task, {}))
    assert (tmp_path.stat().st_uid, (tmp_path / ".git").exists()) == (owner, False)


async def test_a_shell_that_tells_what_it_runs_goes_on_and_says_the_same_each_time(
    sandboxes: Sandboxes, spec: SandboxSpec
) -> None:
    box = await sandboxes.start(spec)
    await box.run("f() { echo mine; }; set -x", 60)
    one, two = await box.run("f", 60), await box.run("f", 60)
    assert (one.data, one.fresh_shell) == (two.data, False)
    assert one.data.startswith(b"++ f\n++ echo mine\nmine\n")
    await box.run("set +x", 60)
    assert (await box.run("f", 60)).data == b"mine\n"


async def test_processes_that_leave_no_room_for_the_patch_are_ended(sandboxes: Sandboxes, spec: SandboxSpec) -> None:
    box = await sandboxes.start(replace(spec, bounds=replace(spec.bounds, processes=24)))
    crowd = "import os,time\nwhile 1:\n  try: os.fork()\n  except OSError: time.sleep(.1)"
    await box.run(f'(sleep 0.3; exec python3 -c "{crowd}") > /dev/null 2>&1 &', 60)
    await asyncio.sleep(1.5)
    told = await box.execute(["/usr/bin/python3", "-c", "import os; os.wait() if os.fork() else print('told')"], 60)
    assert told.data == b"told\n"
    assert (await box.run("echo on", 60)).data == b"on\n"


@pytest.mark.needs("bubblewrap")
async def test_processes_that_leave_no_room_to_look_at_a_file_hide_none(spec: SandboxSpec) -> None:
    """In a container as well, where bash tries for a quarter of a minute before it says so."""
    crowd = "import os,time\nwhile 1:\n  try: os.fork()\n  except OSError: time.sleep(.1)"
    box = await BubblewrapSandboxes(rootfs()).start(replace(spec, bounds=replace(spec.bounds, processes=24)))
    try:
        await box.run(f'echo there > ~/file; (sleep 0.1; exec python3 -c "{crowd}") > /dev/null 2>&1 &', 60)
        await asyncio.sleep(0.8)
        assert await box.read("/home/agent/file", 99) == b"there\n"
    finally:
        await box.close()
