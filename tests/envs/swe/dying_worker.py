"""A worker that makes tool calls in a session of its own, tells how it stands, and waits to be killed."""

import asyncio
import json
import sys
from pathlib import Path

from envs.environment import Site
from envs.swe.environment import SweEnvironment
from envs.swe.tools import BashArguments, EditorArguments
from envs.task import Task
from rollout.blobs import FolderBlobs

ARGUMENTS = {"bash": BashArguments, "str_replace_editor": EditorArguments}


async def main() -> None:
    home, given = Path(sys.argv[1]), json.loads(sys.argv[2])
    environment = SweEnvironment(Site(home, FolderBlobs(home / "blobs"), service=given["service"]))
    session = await environment.start(Task.model_validate(given["task"]), given["owner"])
    for tool, arguments in given["calls"]:
        await session.call(tool, ARGUMENTS[tool].model_validate(arguments))
    print(json.dumps(session.standing()), flush=True)
    await asyncio.sleep(600)


asyncio.run(main())
