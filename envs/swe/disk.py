"""A machine whose disk is full: its failure, and neither the agent's nor its patch's.

An agent that writes too much is ended at its own bound, long before. Words alone prove nothing, as anybody may print
them; they say when to look.
"""

import re

from envs.errors import SandboxError
from envs.swe.sandbox import Sandbox

LEAST_BYTES = 4 << 20
WORDS = re.compile(rb"no space left|out of diskspace|errno 28\b|enospc", re.IGNORECASE)


def speaks_of_full_disk(data: bytes) -> bool:
    return WORDS.search(data) is not None


async def refuse_full_disk(sandbox: Sandbox, workdir: str) -> None:
    """Raises `SandboxError` where next to nothing can be written any more."""
    output = await sandbox.execute(["df", "-Pk", workdir, "/tmp"], 30)
    free = [line.split()[3] for line in output.data.decode("utf-8", "replace").splitlines()[1:] if line.count(" ") > 3]
    if any(kib.isdigit() and int(kib) << 10 < LEAST_BYTES for kib in free):
        raise SandboxError("the disk below the sandbox is full: free some space")
