"""verl's Parquet for reinforcement learning: the prompt as messages, the ground truth for a rule-based reward."""

from pathlib import Path

import pyarrow as pa

from compiler.example import Example
from compiler.formats.portion import Portion
from compiler.formats.writer import ParquetRows

MESSAGE = pa.struct([("role", pa.string()), ("content", pa.string())])
SCHEMA = pa.schema(
    [
        ("data_source", pa.string()),
        ("prompt", pa.list_(MESSAGE)),
        ("ability", pa.string()),
        ("reward_model", pa.struct([("style", pa.string()), ("ground_truth", pa.string())])),
        (
            "extra_info",
            pa.struct([("index", pa.int64()), ("split", pa.string()), ("id", pa.string()), ("kind", pa.string())]),
        ),
    ]
)


class VerlWriter(ParquetRows):
    """`verl/<config>-00000.parquet`."""

    def __init__(self, folder: Path, portion: Portion):
        super().__init__(folder / "verl", portion.stem, SCHEMA)
        self._config = portion.config
        self._index = 0

    def write(self, example: Example, prompt: str) -> None:
        row = {
            "data_source": f"trajc/{self._config}",
            "prompt": [{"role": "user", "content": prompt}],
            "ability": self._config,
            "reward_model": {"style": "rule", "ground_truth": example.ground_truth},
            "extra_info": {
                "index": self._index,
                "split": example.split,
                "id": example.id,
                "kind": example.answer_kind,
            },
        }
        self._index += 1
        self.add(row, len(prompt))
