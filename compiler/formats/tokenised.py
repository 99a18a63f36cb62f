"""Token ids with labels: the loss is on the target and the token that ends it, and on nothing else.

Prompt and target are encoded apart, as they are when a model is asked and replies. `pack` and `pack_offset` place
rows into sequences of at most the token budget: each row goes to the fullest open pack that still holds it.
"""

from pathlib import Path

import pyarrow as pa

from compiler.chat import Chat, target_text
from compiler.example import Example
from compiler.formats.portion import Portion
from compiler.formats.writer import ParquetRows
from compiler.tokens import Tokenizer

IGNORED = -100
OPEN_PACKS = 64
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("input_ids", pa.list_(pa.int32())),
        ("labels", pa.list_(pa.int32())),
        ("length", pa.int64()),
        ("pack", pa.int64()),
        ("pack_offset", pa.int64()),
    ]
)


class TokenisedWriter(ParquetRows):
    """`tokenised/<config>-00000.parquet`."""

    def __init__(self, folder: Path, portion: Portion, tokenizer: Tokenizer, chat: Chat, budget: int):
        super().__init__(folder / "tokenised", portion.stem, SCHEMA)
        self._tokenizer = tokenizer
        self._chat = chat
        self._packs = Packs(budget)

    def write(self, example: Example, prompt: str) -> None:
        encode, chat = self._tokenizer.encode, self._chat
        given = encode(chat.before + prompt + chat.between)
        target = encode(target_text(example.reasoning, example.answer)) + encode(chat.end)
        after = encode(chat.after)
        ids = [*given, *target, *after]
        labels = [IGNORED] * len(given) + target + [IGNORED] * len(after)
        pack, offset = self._packs.place(len(ids))
        row = {"id": example.id, "input_ids": ids, "labels": labels, "length": len(ids)}
        self.add(row | {"pack": pack, "pack_offset": offset}, 8 * len(ids))


class Packs:
    """Best fit over a bounded number of open packs, in one pass."""

    def __init__(self, size: int):
        self._size = size
        self._open: dict[int, int] = {}
        """Pack -> tokens in it."""
        self._made = 0

    def place(self, length: int) -> tuple[int, int]:
        """(pack, offset in it)."""
        fitting = [(-used, pack) for pack, used in self._open.items() if used + length <= self._size]
        if fitting:
            used, pack = min(fitting)
            offset = -used
        else:
            pack, offset = self._made, 0
            self._made += 1
        self._open[pack] = offset + length
        if len(self._open) > OPEN_PACKS:
            self._open.pop(max(self._open, key=lambda p: (self._open[p], -p)))
        return pack, offset
