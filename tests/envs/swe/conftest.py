"""Sandboxes for tests: the base image is made once, and nothing that a test started is left."""

import asyncio
import os
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from envs.blobs import MemoryBlobs
from envs.environment import Site
from envs.swe.bubblewrap import BubblewrapSandboxes
from envs.swe.engine.baseimage import BASE_IMAGE, ensure_base_image
from envs.swe.engine.engine import DockerSandboxes, connect, disconnect, reap
from envs.swe.environment import SweEnvironment
from envs.swe.make.folder import Edit, make_task_from_folder
from envs.swe.sandbox import Bounds, Sandbox, Sandboxes, SandboxSpec
from envs.task import Reference, Task

TEST_SERVICE = "trajc-tests"
FAIL = ("tests/test_cart.py::test_total",)
PASS = ("tests/test_cart.py::test_empty", "tests/test_count.py::test_count")
SHOP = {
    "shop/__init__.py": "",
    "shop/cart.py": """def total(items):
    out = 0
    for price, count in items:
        out += price * count
    return out


def count(items):
    return sum(c for _, c in items)
""",
    "tests/test_cart.py": """from shop.cart import total


def test_total():
    assert total([(2, 3), (1, 1)]) == 7


def test_empty():
    assert total([]) == 0
""",
    "tests/test_count.py": """from shop.cart import count


def test_count():
    assert count([(2, 3)]) == 3
""",
}


def rootfs() -> Path | None:
    """An unpacked Debian given by the machine, so that tests need no registry."""
    value = os.environ.get("TRAJC_ROOTFS")
    return Path(value) if value and Path(value).is_dir() else None


@pytest.fixture(scope="session")
def base_image() -> str:
    async def make() -> str:
        client = connect()
        try:
            await ensure_base_image(client, rootfs())
        finally:
            await disconnect(client)
        return BASE_IMAGE

    # A thread of its own, as the test that asks first may have a running loop.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(make())).result()


@pytest.fixture
async def docker_sandboxes(base_image: str) -> AsyncIterator[DockerSandboxes]:  # noqa: ARG001
    engine = DockerSandboxes()
    try:
        yield engine
        await reap(engine.client, live=(), service=f"{TEST_SERVICE}-{os.getpid()}")
    finally:
        await engine.close()


class Tracked:
    """Any kind of sandboxes; closes what a test started and did not close."""

    def __init__(self, inner: Sandboxes) -> None:
        self.inner = inner
        self.enforces = inner.enforces
        self._started: list[Sandbox] = []

    async def start(self, spec: SandboxSpec) -> Sandbox:
        self._started.append(await self.inner.start(spec))
        return self._started[-1]

    async def close(self) -> None:
        for sandbox in self._started:
            await sandbox.close()


@pytest.fixture(
    params=[
        pytest.param("docker", marks=pytest.mark.needs("docker")),
        pytest.param("bubblewrap", marks=pytest.mark.needs("bubblewrap")),
    ]
)
async def sandboxes(request: pytest.FixtureRequest) -> AsyncIterator[Sandboxes]:
    """Each kind that there is; every test with it runs on all of them."""
    if request.param == "docker":
        request.getfixturevalue("base_image")
        inner: Sandboxes = DockerSandboxes()
    elif rootfs() is None:
        pytest.skip("needs TRAJC_ROOTFS, the folder of an unpacked Debian with python3, pytest and git")
    else:
        inner = BubblewrapSandboxes(rootfs())
    tracked = Tracked(inner)
    try:
        yield tracked
    finally:
        await tracked.close()
        await inner.close()


@pytest.fixture
def spec() -> SandboxSpec:
    """Small bounds, and labels by which whatever is left over is found."""
    return SandboxSpec(
        image=BASE_IMAGE,
        workdir="/home/agent",
        labels={"service": f"{TEST_SERVICE}-{os.getpid()}"},
        seconds=600,
        bounds=Bounds(memory_bytes=512 << 20, processes=128, file_bytes=256 << 20, flood_bytes=16 << 20),
    )


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A small healthy repository with tests."""
    folder = tmp_path / "shop"
    for path, text in SHOP.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


@pytest.fixture
def blobs() -> MemoryBlobs:
    return MemoryBlobs()


@pytest.fixture
def pair(shop: Path, blobs: MemoryBlobs) -> tuple[Task, Reference]:
    return make_task_from_folder(
        shop,
        [Edit("shop/cart.py", "price * count", "price")],
        blobs,
        id="shop-1",
        issue="A cart's total forgets counts.",
        fail_to_pass=FAIL,
        pass_to_pass=PASS,
    )


@pytest.fixture
def world(tmp_path: Path, blobs: MemoryBlobs, base_image: str) -> SweEnvironment:  # noqa: ARG001
    return SweEnvironment(Site(tmp_path, blobs, {"shown_bytes": 2000}))


@pytest.fixture(
    params=[
        pytest.param("docker", marks=pytest.mark.needs("docker")),
        pytest.param("bubblewrap", marks=pytest.mark.needs("bubblewrap")),
    ]
)
async def either_world(
    request: pytest.FixtureRequest, tmp_path: Path, blobs: MemoryBlobs
) -> AsyncIterator[SweEnvironment]:
    """The environment on each kind of sandbox that there is."""
    if request.param == "docker":
        request.getfixturevalue("base_image")
    settings = {"sandbox": request.param, "rootfs": str(rootfs()), "memory_bytes": 1 << 30, "shown_bytes": 2000}
    environment = SweEnvironment(Site(tmp_path, blobs, settings))
    yield environment
    await environment.close()
