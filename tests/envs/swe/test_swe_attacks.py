"""A hostile agent's commands: each ends within its time, harms nobody else, and the next command is answered."""

import asyncio
import socket
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from envs.swe.sandbox import Bounds, Sandbox, Sandboxes, SandboxSpec

SECONDS = 1.0
OWN = Path(__file__).with_name("attacks_own.txt")


def commands(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line.strip()]


def snapshot(folder: Path) -> dict[str, object]:
    """Files of the host that attacks aim at, and a canary."""
    canary = folder / "canary"
    if not canary.exists():
        canary.write_text("host")
    aims = ["/etc/passwd", "/etc/hosts", "/etc/hostname", "/usr/bin/kill", "/proc/sys/kernel/core_pattern", str(canary)]
    apart = ["/big2", "/tmp/pwn", "/tmp/i", "/etc/cron.d/x", "/tmp/fill"]
    return {a: Path(a).read_bytes() for a in aims if Path(a).exists()} | {a: Path(a).exists() for a in apart}


async def withstands(sandboxes: Sandboxes, spec: SandboxSpec, attacks: list[str]) -> list[str]:
    """What went wrong, attack by attack; nothing should."""
    spec = replace(spec, bounds=Bounds(memory_bytes=1 << 30, file_bytes=256 << 20))
    neighbour = await sandboxes.start(spec)
    await neighbour.run("(for n in $(seq 100000); do echo $n > /tmp/beat; sleep 0.2; done) & echo safe > /tmp/kept", 60)
    box = await sandboxes.start(spec)
    wrong: list[str] = []
    for attack in attacks:
        output = await box.run(attack, SECONDS)
        if len(output.data) > spec.bounds.keep_bytes:
            wrong.append(f"{attack!r} kept {len(output.data)} bytes")
        # The attack may have left background jobs that write, or a shell that prints nothing any more: an agent
        # gets at most one odd answer, and then a shell that works.
        answers = [(await box.run("builtin echo ali''ve", 10)).data for _ in range(3)]
        if not any(b"alive" in answer for answer in answers):
            box = await recovered(sandboxes, spec, box, attack, answers, wrong)
    beats = 'for _ in $(seq 200); do [ "$a" != "$(cat /tmp/beat)" ] && echo beats && break; sleep 0.2; done'
    kept = await neighbour.run(f"cat /tmp/kept; a=$(cat /tmp/beat); {beats}", 60)
    if kept.data != b"safe\nbeats\n":
        wrong.append(f"the neighbour was disturbed: {kept}")
    return wrong


async def recovered(
    sandboxes: Sandboxes, spec: SandboxSpec, box: Sandbox, attack: str, answers: list[bytes], wrong: list[str]
) -> Sandbox:
    wrong.append(f"{attack!r} left a shell that answers {answers}")
    await box.close()
    return await sandboxes.start(spec)


async def test_every_attack_of_our_own_is_withstood(sandboxes: Sandboxes, spec: SandboxSpec, tmp_path: Path) -> None:
    attacks = commands(OWN)
    assert len(attacks) >= 59
    host = snapshot(tmp_path)
    assert await withstands(sandboxes, spec, attacks) == []
    assert snapshot(tmp_path) == host, "a file of the host was written"


@pytest.mark.needs("realdata")
async def test_every_attack_of_the_list_is_withstood(
    sandboxes: Sandboxes, spec: SandboxSpec, tmp_path: Path, realdata: Path
) -> None:
    attacks = commands(realdata.parent / "attacks_shell.txt")
    assert len(attacks) == 59
    host = snapshot(tmp_path)
    assert await withstands(sandboxes, spec, attacks) == []
    assert snapshot(tmp_path) == host, "a file of the host was written"


async def test_the_host_is_not_there_to_be_reached_or_read(
    sandboxes: Sandboxes, spec: SandboxSpec, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of the host")
    arrived = threading.Event()
    with socket.create_server(("0.0.0.0", 0)) as server:
        port = server.getsockname()[1]
        server.settimeout(600)

        def wait() -> None:
            try:
                server.accept()
                arrived.set()
            except OSError:
                pass

        waiting = threading.Thread(target=wait, daemon=True)
        waiting.start()
        box = await sandboxes.start(spec)
        for address in ("127.0.0.1", "172.17.0.1", socket.gethostbyname(socket.gethostname())):
            await box.run(f"(exec 3<>/dev/tcp/{address}/{port}) 2>/dev/null", 3)
        read = await box.run(f"cat {secret}", 60)
        found = await box.run("env; cat /proc/self/mountinfo", 60)
        assert not arrived.is_set(), "a connection left the sandbox"
        # The listener can be reached at all, else the claim above would be empty.
        await asyncio.to_thread(lambda: socket.create_connection(("127.0.0.1", port)).close())
        await asyncio.to_thread(waiting.join, 60)
        assert arrived.is_set()
    assert read.code != 0
    assert b"of the host" not in read.data
    assert b"docker.sock" not in found.data


async def test_no_capability_and_no_way_to_more(sandboxes: Sandboxes, spec: SandboxSpec) -> None:
    box = await sandboxes.start(spec)
    status = await box.run("grep -E '^(Cap(Inh|Prm|Eff|Bnd|Amb)|NoNewPrivs)' /proc/self/status; id -u", 60)
    lines = status.data.decode().split()
    assert lines == [
        *("CapInh:", "0" * 16, "CapPrm:", "0" * 16, "CapEff:", "0" * 16, "CapBnd:", "0" * 16, "CapAmb:", "0" * 16),
        *("NoNewPrivs:", "1", "1000"),
    ]
