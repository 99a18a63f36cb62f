"""Run by LLaMA-Factory's own Python: what its loader makes of dataset versions.

    python llamafactory_reads.py TOKENIZER WORK VERSION...

prints JSON: for each version and config, the texts that the loss is on.
"""

import json
import sys
from itertools import groupby
from pathlib import Path

from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
from llamafactory.hparams import get_train_args
from llamafactory.model import load_tokenizer

tokenizer_folder, work, *versions = map(Path, sys.argv[1:])


def learnt(row: dict, tokenizer) -> list[str]:
    pairs = zip(row["input_ids"], row["labels"], strict=True)
    stretches = [list(stretch) for masked, stretch in groupby(pairs, key=lambda p: p[1] == -100) if not masked]
    assert all(id == label for stretch in stretches for id, label in stretch)
    return [tokenizer.decode([id for id, _ in stretch]) for stretch in stretches]


def of(folder: Path, config: str) -> list[list[str]]:
    model, data, training, _, _ = get_train_args(
        {
            "model_name_or_path": str(tokenizer_folder),
            "stage": "sft",
            "do_train": True,
            "finetuning_type": "full",
            "dataset": config,
            "dataset_dir": str(folder),
            "template": "qwen3",
            "cutoff_len": 131072,
            "output_dir": str(work / "out"),
            "cache_dir": str(work / "cache"),
            "overwrite_cache": True,
            "use_cpu": True,
            "report_to": "none",
        }
    )
    loaded = load_tokenizer(model)
    template = get_template_and_fix_tokenizer(loaded["tokenizer"], data)
    rows = get_dataset(template, model, data, training, stage="sft", **loaded)["train_dataset"]
    return [learnt(row, loaded["tokenizer"]) for row in rows]


answer = {}
for version in versions:
    folder = version / "llama_factory"
    configs = json.loads((folder / "dataset_info.json").read_text())
    answer[str(version)] = {config: of(folder, config) for config in configs}
print(json.dumps(answer))
