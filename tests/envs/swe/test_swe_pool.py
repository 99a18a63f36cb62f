"""Containers that wait: handed over they are like any other, and they go when their pool does."""

import os
from dataclasses import replace

import pytest

from envs.swe.engine.engine import DockerSandboxes, connect, disconnect, reap
from envs.swe.engine.owner import PROCESS
from envs.swe.engine.pool import WarmPool
from envs.swe.gitdir import File
from envs.swe.sandbox import Output, SandboxSpec
from envs.swe.tree import seed

pytestmark = pytest.mark.needs("docker")
SERVICE = f"trajc-pool-{os.getpid()}"
NOBODY = 1 << 30
"""A process id that no process has."""
LOOK = "pwd; ls -ld /testbed/a.py /testbed /var/lib/trajc/base.git; git status --short; git log --oneline; id; cat a.py"


async def left(service: str) -> int:
    client = connect()
    try:
        return len(await client.containers.list(all=True, filters={"label": [f"trajc.service={service}"]}))
    finally:
        await disconnect(client)


@pytest.fixture
def shaped(base_image: str) -> SandboxSpec:
    files = {"a.py": File(b"print(1)\n"), "pkg/b.py": File(b"", "100755")}
    return SandboxSpec(base_image, labels={"service": SERVICE, "rollout": "r"}, seed=seed(files, "/testbed", 1000))


async def test_a_container_that_waited_is_like_one_that_was_started(shaped: SandboxSpec) -> None:
    def same(output: Output) -> tuple[bytes, int | None]:
        return output.data, output.code

    pool = WarmPool(DockerSandboxes(), 1)
    try:
        cold = await pool.start(shaped)
        assert await pool.ready() == 1
        warm = await pool.start(shaped)
        assert warm.id != cold.id
        assert same(await warm.run(LOOK, 60)) == same(await cold.run(LOOK, 60))
        await warm.run("export A=1; cd pkg", 60)
        await warm.run("exit 3", 60)
        assert (await warm.run("pwd; echo $A", 60)).data == b"/testbed/pkg\n1\n"
        await cold.close()
        await warm.close()
    finally:
        await pool.close()
    assert await left(SERVICE) == 0


async def test_a_container_that_died_while_it_waited_is_not_handed_over(shaped: SandboxSpec) -> None:
    pool = WarmPool(DockerSandboxes(), 1)
    try:
        first = await pool.start(shaped)
        await pool.ready()
        labels = [f"trajc.service={SERVICE}", "trajc.process"]
        waiting = await pool.inner.client.containers.list(filters={"label": labels})
        assert len(waiting) == 1
        await waiting[0].kill(signal="SIGKILL")
        second = await pool.start(shaped)
        assert second.id != waiting[0].id
        assert (await second.run("cat a.py", 60)).data == b"print(1)\n"
        await first.close()
        await second.close()
    finally:
        await pool.close()
    assert await left(SERVICE) == 0


async def test_the_reaper_spares_a_pool_whose_process_lives(shaped: SandboxSpec) -> None:
    pool = WarmPool(DockerSandboxes(), 1)
    orphan = DockerSandboxes()
    try:
        await (await pool.start(shaped)).close()
        await pool.ready()
        here = os.uname().nodename
        await orphan.start(replace(shaped, seed=b"", labels={"service": SERVICE, PROCESS: f"{here}:{NOBODY}:1"}))
        assert await left(SERVICE) == 2
        assert await reap(pool.inner.client, live=(), service=SERVICE) == 1
        assert await pool.ready() == 1
    finally:
        await pool.close()
        await orphan.close()
    assert await left(SERVICE) == 0


async def test_a_repository_that_was_not_the_expected_one_is_never_handed_over(shaped: SandboxSpec) -> None:
    other = replace(shaped, seed=seed({"a.py": File(b"print(2)\n")}, "/testbed", 1000))
    pool = WarmPool(DockerSandboxes(), 2)
    try:
        seen = []
        for wanted in (shaped, shaped, shaped, other, other, other, shaped, other):
            box = await pool.start(wanted)
            seen.append((await box.run("cat a.py; ls; git status --short", 60)).data)
            await box.close()
            assert await pool.ready() == 2
        a, b = b"print(1)\na.py\npkg\n", b"print(2)\na.py\n"
        assert seen == [a, a, a, b, b, b, a, b]
    finally:
        await pool.close()
    assert await left(SERVICE) == 0


async def test_a_repository_s_own_folder_called_var_is_handed_over_too(shaped: SandboxSpec) -> None:
    files = {f"{folder}a.py": File(b"a = 1\n") for folder in ("", "var/", "pkg/var/", "pkg/var/lib/", "var/lib/trajc/")}
    wanted = replace(shaped, seed=seed(files, "/testbed", 1000))
    pool = WarmPool(DockerSandboxes(), 1)
    try:
        for _ in range(2):
            box = await pool.start(wanted)
            assert (
                await box.run("git status --short; git ls-files | wc -l; cat $(git ls-files) | wc -l", 60)
            ).data == (b"5\n5\n")
            await box.close()
            await pool.ready()
    finally:
        await pool.close()


async def test_no_container_is_emptied_while_it_waits(shaped: SandboxSpec) -> None:
    pool = WarmPool(DockerSandboxes(), 1)
    try:
        box = await pool.start(replace(shaped, user="root", clear=True))
        assert (await box.run("ls", 60)).data == b"a.py\npkg\n"
        await box.close()
        assert await pool.ready() == 0
        await (await pool.start(shaped)).close()
        assert await pool.ready() == 1, "a repository that came with its image does not give the pool its shape"
    finally:
        await pool.close()
