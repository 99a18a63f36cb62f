"""The program git on this machine, run with nobody's settings and no hooks."""

import os
import subprocess
from pathlib import Path

from envs.errors import TaskError

SETTINGS = {"PATH": os.defpath, "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}


def git(folder: Path, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Raises `TaskError` where git cannot be run at all; a refusal of its own is in the result."""
    command = ["git", "-c", "safe.directory=*", "-c", "core.hooksPath=/dev/null", *words]
    try:
        return subprocess.run(command, cwd=folder, env=SETTINGS, input=stdin, capture_output=True, check=False)
    except OSError as e:
        raise TaskError(f"git cannot be run in {folder} ({e.strerror}); install it to read repositories") from e


def git_words(done: subprocess.CompletedProcess[bytes], limit: int = 400) -> str:
    """What git said against it."""
    return done.stderr.decode("utf-8", "replace").strip()[:limit]
