"""A container whose worker was killed goes on under another one: as it was left, or not at all."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from envs.adoption import NotAdopted
from envs.environment import Site
from envs.swe.engine.engine import connect, disconnect, reap
from envs.swe.environment import SweEnvironment
from envs.swe.make.folder import Edit, make_task_from_folder
from envs.swe.tools import BashArguments, EditorArguments
from envs.task import Task
from rollout.blobs import FolderBlobs

pytestmark = pytest.mark.needs("docker")
SERVICE = f"trajc-adopt-{os.getpid()}"
SHELL = """cd shop; export WHERE=here; count=3; list=(a 'b c'); greet() { echo "hello $1"; }; shopt -s nullglob
set -o pipefail; umask 027; alias ll='ls -l'; trap 'echo caught' USR1"""
ASKS = """pwd; echo $WHERE $count "${list[1]}"; greet you; shopt nullglob; set -o | grep pipefail; umask; alias
trap -p USR1; ls -A /tmp"""
TOLD = """/testbed/shop
here 3 b c
hello you
nullglob       \ton
pipefail       \ton
0027
alias ll='ls -l'
trap -- 'echo caught' SIGUSR1
"""


@pytest.fixture
def task(tmp_path: Path, shop: Path, base_image: str) -> Task:  # noqa: ARG001
    made, _ = make_task_from_folder(
        shop,
        [Edit("shop/cart.py", "price * count", "price")],
        FolderBlobs(tmp_path / "blobs"),
        id="shop-1",
        issue="A cart's total forgets counts.",
        fail_to_pass=("tests/test_cart.py::test_total",),
        pass_to_pass=(),
    )
    return made


@pytest.fixture
async def environment(tmp_path: Path) -> AsyncIterator[SweEnvironment]:
    made = SweEnvironment(Site(tmp_path, FolderBlobs(tmp_path / "blobs"), service=SERVICE))
    yield made
    await made.close()
    client = connect()
    await reap(client, live=(), service=SERVICE)
    await disconnect(client)


def owner(attempt: int) -> dict[str, str]:
    return {"service": SERVICE, "run": "run_1", "rollout": "ro_1", "attempt": str(attempt)}


def bash(command: str) -> tuple[str, dict[str, Any]]:
    return "bash", {"command": command}


def left(home: Path, task: Task, *calls: tuple[str, dict[str, Any]], kill: bool = True) -> Any:
    """How the session of a worker stood when it was killed after these calls."""
    given = {"service": SERVICE, "owner": owner(1), "task": task.model_dump(mode="json"), "calls": calls}
    program = Path(__file__).parent / "dying_worker.py"
    worker = subprocess.Popen(
        [sys.executable, program, home, json.dumps(given)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]
    )
    assert worker.stdout is not None
    standing = json.loads(worker.stdout.readline())
    if kill:
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    else:
        standing["worker"] = worker
    return standing


async def test_the_shell_goes_on_as_if_it_were_the_same(
    tmp_path: Path, task: Task, environment: SweEnvironment
) -> None:
    standing = left(tmp_path, task, bash(SHELL))
    session = await environment.adopt(task, owner(2), standing)
    again = await session.call("bash", BashArguments(command=ASKS))
    assert again.text == TOLD
    now = session.standing()
    assert now is not None
    assert now["sandbox"]["container"] == standing["sandbox"]["container"]
    await session.close()


async def test_a_shell_in_a_folder_whose_name_is_no_text_can_be_noted_and_goes_on(
    tmp_path: Path, task: Task, environment: SweEnvironment
) -> None:
    """A journal is JSON, which holds no bytes that are no text."""
    standing = left(tmp_path, task, bash(r"mkdir $'\xff' && cd $'\xff'"))
    session = await environment.adopt(task, owner(2), orjson.loads(orjson.dumps(standing)))
    assert (await session.call("bash", BashArguments(command="pwd | od -An -c"))).text.split()[-3:] == [
        "/",
        "377",
        r"\n",
    ]
    await session.close()


async def test_an_edit_can_be_taken_back_after_the_worker_that_made_it_died(
    tmp_path: Path, task: Task, environment: SweEnvironment
) -> None:
    change = {"command": "str_replace", "path": "shop/cart.py", "old_str": "price\n", "new_str": "price * count\n"}
    made = {"command": "create", "path": "new.py", "file_text": "x = 1\n"}
    standing = left(tmp_path, task, ("str_replace_editor", change), ("str_replace_editor", made))
    session = await environment.adopt(task, owner(2), standing)
    assert "price * count" in ((await session.submission()) or task).text  # type: ignore[union-attr]
    for path in ("shop/cart.py", "new.py"):
        undo = EditorArguments(command="undo_edit", path=path)
        assert not (await session.call("str_replace_editor", undo)).is_error
    assert await session.submission() is None
    await session.close()


async def test_the_reaper_spares_what_was_adopted_and_removes_what_was_not(
    tmp_path: Path, task: Task, environment: SweEnvironment
) -> None:
    standing = left(tmp_path, task, bash("true"))
    session = await environment.adopt(task, owner(2), standing)
    client = connect()
    try:
        assert await reap(client, live={"ro_1/2"}, service=SERVICE) == 0
        assert await reap(client, live={"ro_1/1", "ro_1/3"}, service=SERVICE) == 1
    finally:
        await disconnect(client)
    await session.close()


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("sleep 300 & true", "jobs in the background"),
        ("unset __left", "did not end in order"),
    ],
)
async def test_a_shell_that_cannot_go_on_as_it_was_is_not_adopted(
    tmp_path: Path, task: Task, environment: SweEnvironment, command: str, words: str
) -> None:
    with pytest.raises(NotAdopted, match=words):
        await environment.adopt(task, owner(2), left(tmp_path, task, bash(command)))


async def test_a_container_that_ended_and_one_of_somebody_else_are_not_adopted(
    tmp_path: Path, task: Task, environment: SweEnvironment
) -> None:
    standing = left(tmp_path, task, bash("true"))
    with pytest.raises(NotAdopted, match=r"label trajc.rollout is 'ro_1'"):
        await environment.adopt(task, owner(2) | {"rollout": "ro_2"}, standing)
    client = connect()
    try:
        await client.containers.container(standing["sandbox"]["container"]).kill()
        with pytest.raises(NotAdopted, match="its container has ended"):
            await environment.adopt(task, owner(2), standing)
        await environment.abandon(standing)
        with pytest.raises(NotAdopted, match="the container is gone"):
            await environment.adopt(task, owner(2), standing)
    finally:
        await disconnect(client)


async def test_the_container_of_a_worker_that_only_lost_its_lease_is_left_to_it(
    tmp_path: Path, task: Task, environment: SweEnvironment
) -> None:
    standing = left(tmp_path, task, bash("true"), kill=False)
    worker = standing.pop("worker")
    try:
        with pytest.raises(NotAdopted, match="still there"):
            await environment.adopt(task, owner(2), standing)
        await environment.abandon(standing)
        client = connect()
        found = await client.containers.container(standing["sandbox"]["container"]).show()
        await disconnect(client)
        assert found["State"]["Running"]
    finally:
        worker.kill()
        worker.wait()
