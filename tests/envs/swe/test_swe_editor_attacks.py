"""What an agent may do to the editor: odd files and odd paths are words, files are changed whole or not at all."""

import asyncio
import shlex
from pathlib import Path
from typing import Any

import pytest

from envs.swe.environment import SweEnvironment
from envs.swe.session import SweSession
from envs.swe.tools import BASH, EDITOR
from envs.task import Reference, Task
from envs.tool import ToolResult

SECONDS = 40.0
HOST = Path("/etc/passwd")


def of_the_host() -> tuple[bytes, bool]:
    return HOST.read_bytes(), Path("/tmp/odd").exists()


ODD = {
    "/tmp/odd/pipe": "mkfifo {}",
    "/tmp/odd/zero": "ln -s /dev/zero {}",
    "/tmp/odd/full": "ln -s /dev/full {}",
    "/tmp/odd/self": "ln -s {} {}",
    "/tmp/odd/stdin": "ln -s /dev/stdin {}",
    "/tmp/odd/shadow": "ln -s /etc/shadow {}",
    "/tmp/odd/socket": "python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"{}\")'",
    "/tmp/odd/closed": "echo x > {}; chmod 000 {}",
    "/tmp/odd/folder": "mkdir {}; chmod 000 {}",
    "/tmp/odd/sparse": "truncate -s 200M {}",
    "/tmp/odd/long": "head -c 5000000 /dev/zero | tr '\\0' a > {}",
    "/proc/1/environ": "true",
    "/proc/self/mem": "true",
    "/proc/kcore": "true",
    "/proc/sysrq-trigger": "true",
    "/sys/kernel/profiling": "true",
    "/dev/sda": "true",
    "/etc/passwd": "true",
    "/var/lib/trajc/base.git/HEAD": "true",
    "/": "true",
    "../../../../etc/hosts": "true",
    "/tmp/odd/" + "x" * 300: "true",
    "/tmp/odd/a\0b": "true",
    "/dev/null/x": "true",
}
"""Path, and what is put there first: nothing of it can be edited."""
PLAIN = (
    "-rf",
    "a b",
    "a'b\"c",
    "line\nbreak",
    "$(touch pwned)",
    "`touch pwned`",
    "; touch pwned #",
    "caf\u00e9",
    "*",
    "~",
)
"""Names of ordinary files."""


@pytest.fixture
async def session(either_world: SweEnvironment, pair: tuple[Task, Reference]) -> Any:
    made = await either_world.start(pair[0], {})
    yield made
    await made.close()


async def edit(session: SweSession, command: str, path: str, **given: object) -> ToolResult:
    arguments = EDITOR.parse({"command": command, "path": path, **given})
    try:
        return await asyncio.wait_for(session.call("str_replace_editor", arguments), SECONDS)
    except TimeoutError:
        raise AssertionError(f"{command} of {path[:40]!r} does not end") from None


async def bash(session: SweSession, command: str) -> str:
    return (await session.call("bash", BASH.parse({"command": command}))).text


async def test_what_is_no_ordinary_file_is_neither_shown_whole_nor_written(session: SweSession) -> None:
    await bash(session, "mkdir -p /tmp/odd")
    wrong = []
    host = of_the_host()
    for path, make in ODD.items():
        await bash(session, make.replace("{}", path) if "\0" not in path else make)
        results = [
            await edit(session, "create", path, file_text="owned"),
            await edit(session, "str_replace", path, old_str="root", new_str="owned"),
            await edit(session, "insert", path, insert_line=0, new_str="owned"),
        ]
        seen = await edit(session, "view", path)
        if not all(r.is_error for r in results) or len(seen.text) > 3000:
            wrong.append((path[:40], [(r.is_error, r.text[:80]) for r in (*results, seen)]))
    assert wrong == []
    assert await bash(session, "echo alive") == "alive\n"
    assert of_the_host() == host
    assert not host[1]


async def test_a_file_s_name_is_only_a_name(session: SweSession) -> None:
    for name in PLAIN:
        path = f"/testbed/{name}"
        assert not (await edit(session, "create", path, file_text="one\ntwo\n")).is_error, name
        assert not (await edit(session, "str_replace", path, old_str="one", new_str="1")).is_error, name
        assert (await edit(session, "view", path)).text == "     1\t1\n     2\ttwo", name
        assert await bash(session, f"cat -- {shlex.quote(path)}") == "1\ntwo\n", name
    assert await bash(session, "ls pwned ~/pwned /pwned 2>/dev/null") == "[exit code 2]"
    submission = await session.submission()
    assert submission is not None
    assert submission.text.count("diff --git ") == len(PLAIN)


async def test_a_file_too_large_to_be_edited_keeps_its_every_byte(session: SweSession) -> None:
    await bash(session, "yes 0123456789abcdef | head -c 4500000 > big.txt; echo needle >> big.txt")
    before = await bash(session, "sha256sum big.txt")
    for command, given in (
        ("str_replace", {"old_str": "needle", "new_str": "x"}),
        ("insert", {"insert_line": 0, "new_str": "x"}),
        ("create", {"file_text": "x"}),
        ("view", {}),
    ):
        said = await edit(session, command, "/testbed/big.txt", **given)
        assert said.text == "/testbed/big.txt is larger than 4194303 bytes; use bash"
    assert await bash(session, "sha256sum big.txt") == before
    looked = await session.call("bash", BASH.parse({"command": "tail -n 1 big.txt"}))
    assert [(e.source, e.blob) for e in looked.evidence] == [("big.txt", None)]


async def test_a_file_exchanged_for_a_link_while_it_is_edited_leads_nowhere_else(session: SweSession) -> None:
    await bash(
        session,
        "echo one > swap; cp swap kept; (while :; do ln -sf /etc/passwd swap; rm -f swap; cp kept swap; done) "
        "> /dev/null 2>&1 & echo racing",
    )
    host = of_the_host()
    for n in range(10):
        await edit(session, "create", "/testbed/swap", file_text=f"owned {n}\n")
        await edit(session, "view", "/testbed/swap")
    assert "owned" not in await bash(session, "cat /etc/passwd")
    assert of_the_host() == host


async def test_an_edit_that_could_not_be_taken_back_can_be_later(session: SweSession) -> None:
    await bash(session, "echo kept > once.txt")
    await edit(session, "create", "/testbed/once.txt", file_text="new\n")
    await bash(session, "rm once.txt; mkdir once.txt")
    assert "could not be written" in (await edit(session, "undo_edit", "/testbed/once.txt")).text
    await bash(session, "rmdir once.txt")
    assert (await edit(session, "undo_edit", "/testbed/once.txt")).text.endswith("was taken back.")
    assert await bash(session, "cat once.txt") == "kept\n"
