"""The verifier's own look at train and validation: nothing that they must not share stands in both.

Like all of the verifier it shares no code with what divided them.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple


class Stem(NamedTuple):
    """How names of one config's files begin, its file in the released form, and which split they hold, if any."""

    name: str
    released: str
    split: str | None


def stems(recipe: dict[str, Any], config: str) -> list[Stem]:
    if recipe.get("split") is None:
        return [Stem(config, f"{config}_data.jsonl", None)]
    return [
        Stem(f"{config}-train", f"{config}_data.jsonl", "train"),
        Stem(f"{config}-validation", f"{config}_validation.jsonl", "validation"),
    ]


class Apart:
    """Fed row by row; keeps 16 bytes for each thing that stands in one split only, and what they sum up to."""

    def __init__(self, manifest: dict[str, Any]):
        self._wanted = manifest["recipe"].get("split")
        self._said = manifest.get("splits", {})
        self._stands: dict[bytes, str] = {}
        self._counts: dict[str, Counter[str]] = {}

    def row(self, row: dict[str, Any], split: str | None) -> Iterator[str]:
        if self._wanted is None or split is None:
            return
        self._counts.setdefault(row["config"], Counter())[split] += 1
        if row["split"] != split:
            yield f"its split is {row['split']}, and it stands in the files of {split}"
        for kind, name in self._held(row):
            key = hashlib.blake2b(f"{row['config']}|{kind}|{name}".encode(), digest_size=16).digest()
            if self._stands.setdefault(key, split) != split:
                yield f"its {kind} {name[:80]} stands in train and in validation"

    def _held(self, row: dict[str, Any]) -> Iterator[tuple[str, str]]:
        if row["group"] or row["config"] != "search_agent":
            yield "group", row["group"]
        if row["config"] == "search_agent":
            yield "task", row["task"]
            yield "question", row["question"]
            for piece in row["pieces"]:
                if piece["role"] == "needed" or self._wanted["documents"] == "placed":
                    yield "document", piece["blob"]

    def sums(self) -> Iterator[str]:
        """After the last row."""
        for config, counts in self._counts.items():
            said = self._said.get(config, {})
            if any(said.get(split) != counts[split] for split in ("train", "validation")):
                yield f"{config}: splits have {dict(counts)} rows, the manifest says {said}"
