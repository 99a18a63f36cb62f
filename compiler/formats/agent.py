"""The baseline to compare with: the same trajectories as ordinary agent SFT, tool responses without loss.

Each row: `messages` as sent, each with `loss` (1 on what the assistant wrote, 0 elsewhere), `tools` as JSON text.
Tool arguments stay the strings that the model wrote, so that they survive every format exactly.
"""

from pathlib import Path
from typing import Any

import orjson

from compiler.formats.portion import Portion
from compiler.formats.writer import JsonLines
from rollout.trajectory import Trajectory


def baseline(trajectory: Trajectory) -> dict[str, Any]:
    turns = [{**m.wire(with_reasoning=True), "loss": int(m.role == "assistant")} for m in trajectory.messages]
    return {"trajectory": trajectory.id, "messages": turns, "tools": orjson.dumps(trajectory.tools).decode()}


class BaselineWriter(JsonLines):
    """`agent_sft/<config>.jsonl`."""

    def __init__(self, folder: Path, portion: Portion):
        super().__init__(folder / "agent_sft" / f"{portion.stem}.jsonl")
