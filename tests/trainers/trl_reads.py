"""Run by TRL's own Python: what its SFTTrainer makes of dataset versions.

    python trl_reads.py TOKENIZER WORK VERSION...

prints JSON: for each version and config, the texts that the loss is on, from `messages` (tokenised and masked by
TRL with Qwen3's template), from `tokenised` (ours, taken as it is) and from `tokenised` packed by TRL; whether TRL's
ids and labels are ours; and the loss of one step of training. The model is a tiny one with random weights.
"""

import json
import sys
from importlib.resources import files
from itertools import groupby
from pathlib import Path

from datasets import Dataset, load_dataset
from transformers import AutoTokenizer, Qwen3Config, Qwen3ForCausalLM
from trl import SFTConfig, SFTTrainer

tokenizer_folder, work, *versions = map(Path, sys.argv[1:])
tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
tokenizer.chat_template = (files("trl") / "chat_templates" / "qwen3.jinja").read_text()
model = Qwen3ForCausalLM(
    Qwen3Config(
        vocab_size=151936,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        head_dim=8,
    )
)


def trainer(dataset: Dataset, **settings: object) -> SFTTrainer:
    config = SFTConfig(
        output_dir=str(work / "out"),
        use_cpu=True,
        bf16=False,
        report_to=[],
        max_steps=1,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=len(dataset),
        gradient_checkpointing=False,
        save_strategy="no",
        disable_tqdm=True,
        **settings,
    )
    return SFTTrainer(model=model, args=config, train_dataset=dataset, processing_class=tokenizer)


def learnt(row: dict) -> list[str]:
    """The stretches of a row that bear loss, as text."""
    pairs = zip(row["input_ids"], row["labels"], strict=True)
    stretches = [list(stretch) for masked, stretch in groupby(pairs, key=lambda p: p[1] == -100) if not masked]
    assert all(id == label for stretch in stretches for id, label in stretch)
    return [tokenizer.decode([id for id, _ in stretch]) for stretch in stretches]


def read(version: Path, format: str, name: str) -> Dataset:
    kind = "parquet" if name.endswith(".parquet") else "json"
    return load_dataset(kind, data_files=str(version / format / name), cache_dir=str(work / "cache"), split="train")


def of(version: Path, config: str) -> dict:
    ours = read(version, "tokenised", f"{config}-00000.parquet")
    from_messages = trainer(read(version, "messages", f"{config}.jsonl"), assistant_only_loss=True, max_length=None)
    as_it_is = trainer(ours, max_length=None)
    packed = trainer(ours, packing=True, max_length=4096)
    return {
        "messages": [learnt(row) for row in from_messages.train_dataset],
        "tokenised": [learnt(row) for row in as_it_is.train_dataset],
        "packed": [learnt(row) for row in packed.train_dataset],
        "rows": [len(ours), len(packed.train_dataset)],
        "same_ids": [row["input_ids"] for row in from_messages.train_dataset] == ours["input_ids"],
        "same_labels": as_it_is.train_dataset["labels"] == ours["labels"],
    }


answer = {
    str(version): {path.stem: of(version, path.stem) for path in sorted((version / "messages").glob("*.jsonl"))}
    for version in versions
}
one = trainer(read(versions[0], "tokenised", "search_agent-00000.parquet"), max_length=None)
print(json.dumps({"read": answer, "loss": one.train().training_loss}))
