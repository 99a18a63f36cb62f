"""The released ACC columns, one JSONL file for each config, from canonical examples."""

from pathlib import Path

import orjson

from compiler.chat import target_text
from compiler.example import Example


def dialogs(example: Example, prompt: str) -> list[dict[str, str]]:
    return [
        {"role": "user", "content": prompt},
        {"role": "assistant", "content": target_text(example.reasoning, example.answer)},
    ]


class AccWriter:
    """`<config>_data.jsonl` with `dialogs`, `ground_truth_answer`, `context_length`."""

    def __init__(self, folder: Path, config: str):
        self._file = open(folder / f"{config}_data.jsonl", "wb")  # noqa: SIM115

    def write(self, example: Example, prompt: str) -> None:
        row = {
            "dialogs": dialogs(example, prompt),
            "ground_truth_answer": example.ground_truth,
            "context_length": example.context_length,
        }
        self._file.write(orjson.dumps(row) + b"\n")

    def close(self) -> None:
        self._file.close()
