"""Chat messages, as TRL, Axolotl, OpenAI, NeMo (`messages/`), ms-swift and LLaMA-Factory read them."""

from pathlib import Path
from typing import Any, Literal

import orjson

from compiler.chat import target_text
from compiler.example import Example
from compiler.formats.portion import Portion
from compiler.formats.writer import JsonLines

ReasoningForm = Literal["think", "field"]


def messages(example: Example, prompt: str, form: ReasoningForm) -> list[dict[str, Any]]:
    if form == "field" and example.reasoning is not None:
        reply = {"role": "assistant", "reasoning_content": example.reasoning, "content": example.answer}
    else:
        reply = {"role": "assistant", "content": target_text(example.reasoning, example.answer)}
    return [{"role": "user", "content": prompt}, reply]


class MessagesWriter(JsonLines):
    """`messages/<config>.jsonl`: `messages` and nothing else, as the OpenAI fine-tuning format demands."""

    def __init__(self, folder: Path, portion: Portion, form: ReasoningForm):
        super().__init__(folder / "messages" / f"{portion.stem}.jsonl")
        self._form = form

    def write(self, example: Example, prompt: str) -> None:
        self.add({"messages": messages(example, prompt, self._form)})


class SwiftWriter(JsonLines):
    """`ms_swift/<config>.jsonl`: `messages`, with `solution` for reward functions."""

    def __init__(self, folder: Path, portion: Portion):
        super().__init__(folder / "ms_swift" / f"{portion.stem}.jsonl")

    def write(self, example: Example, prompt: str) -> None:
        self.add({"messages": messages(example, prompt, "think"), "solution": example.ground_truth})


class FactoryWriter(JsonLines):
    """`llama_factory/<config>.jsonl`, and an entry in `llama_factory/dataset_info.json`."""

    def __init__(self, folder: Path, portion: Portion):
        super().__init__(folder / "llama_factory" / f"{portion.stem}.jsonl")
        info = folder / "llama_factory" / "dataset_info.json"
        entries = orjson.loads(info.read_bytes()) if info.exists() else {}
        tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
        entries[portion.stem] = {
            "file_name": f"{portion.stem}.jsonl",
            "formatting": "sharegpt",
            "columns": {"messages": "messages"},
            "tags": tags,
        }
        info.write_bytes(orjson.dumps(entries, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS) + b"\n")

    def write(self, example: Example, prompt: str) -> None:
        self.add({"messages": messages(example, prompt, "think")})
