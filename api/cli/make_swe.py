"""What `trajc tasks make-swe` and `base-image` do: the swe maker over this home folder and its Docker engine."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from api.kept_replies import KeptReplies
from api.models import Models
from api.service import site_of
from api.settings import Settings
from envs.swe.engine.baseimage import ensure_base_image
from envs.swe.engine.engine import DEFAULT_URL, connect, disconnect
from envs.swe.environment import SweEnvironment
from envs.swe.make.package import Made, make_tasks
from envs.swe.make.written_bugs import WrittenBugs
from envs.swe.make.written_issues import WrittenIssues
from envs.task import Reference, Task
from rollout.blobs import FolderBlobs


@dataclass(frozen=True)
class Written:
    """What a language model writes, and which. `replies` is the file that keeps what it said."""

    bugs: bool
    issues: bool
    model: str
    base_urls: Sequence[str]
    replies: Path
    sampling: dict[str, Any] = field(default_factory=dict)


async def make(
    package: str,
    settings: Settings,
    count: int,
    bugs: int,
    seed: int,
    parallel: int,
    say: Callable[[str], None],
    written: Written | None = None,
) -> Made:
    """Raises `TaskError`, `SandboxError`, or `ModelError`."""
    settings.home.mkdir(parents=True, exist_ok=True)
    blobs = FolderBlobs(settings.blobs)
    site = site_of(settings, blobs, "swe")
    environment = SweEnvironment(site)
    try:
        async with Models(settings) as models:
            replies = None
            if written is not None:
                model = models.pool(written.model, written.base_urls)
                replies = KeptReplies(model, written.replies, written.sampling)
            try:
                return await make_tasks(
                    package,
                    environment.sandboxes,
                    blobs,
                    count=count,
                    seed=seed,
                    bugs=bugs,
                    parallel=parallel,
                    bug_source=WrittenBugs(replies) if written and replies and written.bugs else None,
                    issue_source=WrittenIssues(replies) if written and replies and written.issues else None,
                    service=site.service,
                    say=say,
                )
            finally:
                if replies is not None:
                    say(f"{replies.asked} replies asked for, {replies.found} found in {written and written.replies}")
    finally:
        await environment.close()


def write_tasks(tasks: Iterable[tuple[Task, Reference]], path: Path) -> None:
    """A task file, there only when whole."""
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as lines:
        for task, reference in tasks:
            lines.write(line_of(task, reference))
    partial.replace(path)


def line_of(task: Task, reference: Reference) -> bytes:
    """Of a task file."""
    return orjson.dumps({**task.model_dump(mode="json"), "reference": reference.data}) + b"\n"


async def make_base_image(settings: Settings, rootfs: Path | None, say: Callable[[str], None]) -> str:
    """The image's id. Raises `SandboxError`."""
    client = connect(str(settings.environments.get("swe", {}).get("docker_url") or DEFAULT_URL))
    try:
        return await ensure_base_image(client, rootfs, say=say)
    finally:
        await disconnect(client)
