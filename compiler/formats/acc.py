"""The released ACC columns, `dialogs`, `ground_truth_answer`, `context_length`; files named as `Portion` says."""

from pathlib import Path

from compiler.chat import target_text
from compiler.example import Example
from compiler.formats.portion import Portion
from compiler.formats.writer import JsonLines


class AccWriter(JsonLines):
    def __init__(self, folder: Path, portion: Portion):
        super().__init__(folder / portion.released)

    def write(self, example: Example, prompt: str) -> None:
        dialogs = [
            {"role": "user", "content": prompt},
            {"role": "assistant", "content": target_text(example.reasoning, example.answer)},
        ]
        self.add(
            {
                "dialogs": dialogs,
                "ground_truth_answer": example.ground_truth,
                "context_length": example.context_length,
            }
        )
