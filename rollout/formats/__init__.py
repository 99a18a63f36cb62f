"""Trajectories in the forms that others read. Each export holds the system prompt and the tools' schemas."""

from collections.abc import Callable
from typing import Any

from rollout.formats.atif import to_atif
from rollout.formats.openai import to_openai
from rollout.trajectory import Trajectory

FORMATS: dict[str, Callable[[Trajectory], dict[str, Any]]] = {
    "trajc": lambda trajectory: trajectory.model_dump(mode="json"),
    "openai": to_openai,
    "atif": to_atif,
}
"""Name -> export as JSON values."""
