"""Which image a task runs in is told exactly, and that it changed is noticed."""

import os
from pathlib import Path

import docker
import pytest

from envs.blobs import MemoryBlobs
from envs.environment import Site
from envs.errors import TaskError
from envs.swe.environment import SweEnvironment
from envs.swe.images import Images
from envs.swe.settings import parse_settings
from envs.swe.world import SweWorld
from envs.task import Reference, Task

NAME = f"trajc-changing-{os.getpid()}:1"
SERVICE = f"trajc-images-{os.getpid()}"


def variant(engine: docker.DockerClient, base: str, mark: str) -> str:
    """The base image with one more label, under our name; its id."""
    made = engine.containers.create(base, ["true"])
    try:
        image = made.commit(*NAME.split(":"), changes=f"LABEL mark={mark}")
        return str(image.id)
    finally:
        made.remove(force=True)


@pytest.mark.needs("docker")
async def test_a_task_whose_image_changed_under_it_is_noticed(
    tmp_path: Path, blobs: MemoryBlobs, pair: tuple[Task, Reference], base_image: str
) -> None:
    task = pair[0].model_copy(update={"world": {**pair[0].world, "image": NAME}})
    engine = docker.from_env()

    def pin(one: Task) -> Task:
        return SweEnvironment(Site(tmp_path, blobs)).pin(one, None)[0]

    try:
        assert pin(task) == task, "nobody can tell the id of an image that is not there yet"
        first = variant(engine, base_image, "first")
        pinned = pin(task)
        assert pinned.world == {**task.world, "image_digest": first}
        assert pin(pinned) == pinned
        environment = SweEnvironment(Site(tmp_path, blobs))
        await (await environment.start(pinned, {})).close()

        second = variant(engine, base_image, "second")
        assert pin(pinned) == pinned, "the name moved on; the image that was pinned is still there"
        session = await environment.start(pinned, {"service": SERVICE})
        running = engine.containers.list(filters={"label": f"trajc.service={SERVICE}"})
        assert [c.image.id for c in running] == [first]
        await session.close()

        engine.images.remove(first, force=True)
        words = f"world.image_digest: {NAME} is {second} now and was {first} when the task was queued"
        with pytest.raises(TaskError, match=words):
            pin(pinned)
        with pytest.raises(TaskError, match=words):
            await environment.start(pinned, {})
        await environment.close()
        assert pin(task).world["image_digest"] == second
    finally:
        for image in engine.images.list(NAME):
            engine.images.remove(image.id, force=True)
        engine.close()


def test_what_is_installed_in_the_root_file_system_stands_for_bubblewraps_image(
    tmp_path: Path, blobs: MemoryBlobs, pair: tuple[Task, Reference]
) -> None:
    installed = tmp_path / "rootfs/var/lib/dpkg/status"
    installed.parent.mkdir(parents=True)
    installed.write_text("Package: python3\n")

    def environment() -> SweEnvironment:
        return SweEnvironment(Site(tmp_path, blobs, {"sandbox": "bubblewrap", "rootfs": str(tmp_path / "rootfs")}))

    pinned, _ = environment().pin(pair[0], None)
    assert str(pinned.world["image_digest"]).startswith("rootfs:")
    assert environment().pin(pinned, None)[0] == pinned
    installed.write_text("Package: python4\n")
    with pytest.raises(TaskError, match=r"the root file system is rootfs:.* and was rootfs:"):
        environment().pin(pinned, None)
    with pytest.raises(TaskError, match="a bubblewrap sandbox has its root file system and no image debian"):
        environment().pin(pair[0].model_copy(update={"world": {**pair[0].world, "image": "debian"}}), None)


def test_where_no_engine_answers_nothing_is_pinned(pair: tuple[Task, Reference]) -> None:
    world = SweWorld.model_validate(pair[0].world)
    assert Images(parse_settings({"docker_url": "unix:///nowhere.sock"})).pinned(world) == world
