"""What a test may need of the machine, said by `@pytest.mark.needs(...)`.

A test whose need is absent is skipped with the reason. Where TRAJC_REQUIRE (names by comma) holds the need,
it fails instead: a machine that promises everything may leave nothing out.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import docker
import pytest


def _docker() -> str | None:
    try:
        client = docker.from_env(timeout=120)
        try:
            client.ping()
        finally:
            client.close()
    except Exception as e:
        return f"no Docker engine answers ({type(e).__name__})"
    return None


def _program(name: str) -> Callable[[], str | None]:
    return lambda: None if shutil.which(name) else f"{name} is not installed"


def _postgresql() -> str | None:
    if os.environ.get("TRAJC_TEST_POSTGRES") or list(Path("/usr/lib/postgresql").glob("*/bin/postgres")):
        return None
    return "no PostgreSQL: neither TRAJC_TEST_POSTGRES is set nor the server installed"


def _bubblewrap() -> str | None:
    """Sandboxes without an engine need the program, and a root file system to show to the agent."""
    if shutil.which("bwrap") is None:
        return "bwrap is not installed"
    rootfs = os.environ.get("TRAJC_ROOTFS")
    return None if rootfs and Path(rootfs, "usr", "bin").is_dir() else "TRAJC_ROOTFS names no root file system"


def _vllm() -> str | None:
    return None if os.environ.get("TRAJC_TEST_VLLM") else "TRAJC_TEST_VLLM names no running vLLM"


def _trainers() -> str | None:
    return None if os.environ.get("TRAJC_TEST_TRAINERS") else "TRAJC_TEST_TRAINERS names no folder of trainers"


def _realdata() -> str | None:
    folder = os.environ.get("TRAJC_REALDATA")
    if not folder:
        return "TRAJC_REALDATA is not set"
    return None if Path(folder).is_dir() else f"TRAJC_REALDATA: {folder} is no folder"


def _network() -> str | None:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, "iniconfig"]
        done = subprocess.run(command, capture_output=True, check=False)
    return None if done.returncode == 0 else "the package registry cannot be reached"


PROBES: dict[str, Callable[[], str | None]] = {
    "docker": _docker,
    "redis": _program("redis-server"),
    "postgresql": _postgresql,
    "chromium": _program("chromium"),
    "bubblewrap": _bubblewrap,
    "vllm": _vllm,
    "trainers": _trainers,
    "realdata": _realdata,
    "network": _network,
    "apt": _program("apt-get"),
}


@cache
def missing(need: str) -> str | None:
    """Why the need is absent here, or None where it is present."""
    return PROBES[need]()


def pytest_runtest_setup(item: pytest.Item) -> None:
    required = set(filter(None, os.environ.get("TRAJC_REQUIRE", "").split(",")))
    if unknown := required - PROBES.keys():
        pytest.fail(f"TRAJC_REQUIRE names {sorted(unknown)}; known: {', '.join(PROBES)}", pytrace=False)
    for marker in item.iter_markers("needs"):
        for need in marker.args:
            if reason := missing(need):
                if need in required:
                    pytest.fail(f"needs {need}, which TRAJC_REQUIRE promises: {reason}", pytrace=False)
                pytest.skip(f"needs {need}: {reason}")


@pytest.fixture(scope="session")
def realdata() -> Path:
    """The folder of real data; use with `@pytest.mark.needs("realdata")`."""
    return Path(os.environ["TRAJC_REALDATA"])
