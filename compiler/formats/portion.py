"""Which examples one file of a format holds: those of a config, and of one split where the recipe asks for splits."""

from typing import NamedTuple

from compiler.example import Config
from compiler.split import Side


class Portion(NamedTuple):
    config: Config
    split: str = ""
    """Empty where the recipe asks for none: all is train."""

    @property
    def stem(self) -> str:
        """How its files' names begin; Hugging Face finds splits by such names."""
        return f"{self.config}-{self.split}" if self.split else self.config

    @property
    def released(self) -> str:
        """The file in the form of the released dataset, whose name stays that of train."""
        return f"{self.config}_validation.jsonl" if self.split == "validation" else f"{self.config}_data.jsonl"


def released(config: Config, side: Side | None) -> dict[str, str]:
    """The file of each split that there is, by split."""
    if side is None:
        return {"train": Portion(config).released}
    sizes = {"train": side.train, "validation": side.validation}
    return {split: Portion(config, split).released for split, size in sizes.items() if size}
