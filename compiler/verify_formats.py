"""The verifier's look at the other formats: row by row beside the canonical examples, masks decoded.

Like all of the verifier it shares no code with the writers.
"""

import json
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from compiler.verify_render import conversation

Row = dict[str, Any]
Decode = Callable[[list[int]], str]
Check = Callable[[Row, Row], Iterator[str]]


def checks(recipe: Row, decode: Decode) -> dict[str, Check]:
    """By folder: given a format's row and the canonical one, what is wrong."""

    def messages(row: Row, example: Row) -> Iterator[str]:
        user, reply = row["messages"]
        if user != {"role": "user", "content": example["prompt"]}:
            yield "its user message is not the prompt"
        text = reply["content"]
        if "reasoning_content" in reply:
            text = f"<think>\n{reply['reasoning_content']}\n</think>\n\n{text}"
        if reply["role"] != "assistant" or text != target(example):
            yield "its assistant message is not the target"

    def verl(row: Row, example: Row) -> Iterator[str]:
        if row["prompt"] != [{"role": "user", "content": example["prompt"]}]:
            yield "its prompt is not the prompt"
        if row["reward_model"]["ground_truth"] != example["ground_truth"] or row["extra_info"]["id"] != example["id"]:
            yield "its ground truth or id is not the example's"

    def tokenised(row: Row, example: Row) -> Iterator[str]:
        chat = recipe["chat_template"]
        loss = [i for i, label in enumerate(row["labels"]) if label != -100]
        end = "" if chat == "none" else "<|im_end|>"
        if decode([row["labels"][i] for i in loss]) != _nfc(target(example) + end):
            yield "its labels do not decode to the target"
        if loss != list(range(loss[0], loss[-1] + 1)) or any(row["labels"][i] != row["input_ids"][i] for i in loss):
            yield "its labels are not one stretch of its ids"
        if decode(row["input_ids"]) != _nfc("".join(conversation(chat, example["prompt"], target(example)))):
            yield "its ids do not decode to the conversation"
        if not len(row["input_ids"]) == len(row["labels"]) == row["length"] == example["tokens"]:
            yield "its length is not the example's token count"
        if row["pack_offset"] + row["length"] > recipe["token_budget"]:
            yield "it does not fit into its pack"

    def agent(row: Row, example: Row) -> Iterator[str]:
        if row["trajectory"] != example["trajectory"]:
            yield "its trajectory is not the example's"
        if any(m["loss"] != (m["role"] == "assistant") for m in row["messages"]):
            yield "a message that the assistant did not write bears loss, or one that it wrote does not"

    jsonl = {"messages": messages, "ms_swift": messages, "llama_factory": messages, "agent_sft": agent}
    return {**jsonl, "verl": verl, "tokenised": tokenised}


def format_rows(folder: Path, name: str, config: str) -> Iterator[Row]:
    """Rows of one format, from JSONL or Parquet."""
    lines = folder / name / f"{config}.jsonl"
    if lines.exists():
        with open(lines, "rb") as file:
            yield from map(json.loads, file)
    for path in sorted((folder / name).glob(f"{config}-*.parquet")):
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=8):
                yield from batch.to_pylist()


def target(row: Row) -> str:
    if row["reasoning"] is None:
        return str(row["answer"])
    return f"<think>\n{row['reasoning']}\n</think>\n\n{row['answer']}"


def _nfc(text: str) -> str:
    """Tokenizers of this family normalise; what they decode is the normal form."""
    return unicodedata.normalize("NFC", text)
