"""Counts are exact: as Qwen3's own tokenizer counts, and additive where they are said to add."""

import json
import random
import unicodedata
from pathlib import Path

import pytest
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers
from tokenizers import Tokenizer as FastTokenizer

from compiler.errors import RecipeError
from compiler.tokens import QWEN3_ADDED, QWEN_PATTERN, FileTokenizer, RankTokenizer, load_tokenizer, nfc

QWEN3 = load_tokenizer("qwen3")
HARD = [
    "<think>\u0338x",
    "a\u0301e\u0301 <|im_start|>user\n\u0301",
    "\u2000\u2001 x",
    "\u1112\u1161\u11ab 한글",
    "\x85\u2028\n\x1c\n a",
    "  \n\t\n  x",
    "a\r\n\r\nb",
    "ſ's 'ſ I'ſt 'K",
    "=== 12,345 (x) --> y;\n\n\n",
    "def f(x):\n        return x  \n\n    # ünïcödé 灯台 🏮\n",
]
WORDS = [
    "lamp",
    " tower",
    "\n",
    "\n\n",
    " ",
    "  ",
    "\t",
    ".",
    ",",
    "'s",
    "12",
    "é",
    "e\u0301",
    "灯",
    "🏮",
    "()",
    "\r\n",
    "/",
]


@pytest.fixture(scope="session")
def file_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> FileTokenizer:
    """The same tokenizer as Hugging Face writes it, made from the ranks: each token's last merge is its parts."""
    assert isinstance(QWEN3, RankTokenizer)
    ranks = QWEN3._encoding._mergeable_ranks
    letters = {b: chr(c) for b, c in _byte_letters().items()}

    def word(token: bytes) -> str:
        return "".join(letters[b] for b in token)

    merged = sorted((t for t in ranks if len(t) > 1), key=ranks.__getitem__)
    merges = [(word(a), word(b)) for a, b in (_parts(token, ranks) for token in merged)]
    model = models.BPE({word(t): r for t, r in ranks.items()}, merges)
    fast = FastTokenizer(model)
    fast.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(QWEN_PATTERN), "isolated")
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    fast.pre_tokenizer = pre_tokenizers.Sequence([split, level])
    fast.decoder = decoders.ByteLevel()
    fast.add_tokens([AddedToken(t, normalized=False) for t in QWEN3_ADDED])
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    fast.save(str(path))
    return FileTokenizer(path)


def _byte_letters() -> dict[int, int]:
    """GPT-2's printable stand-ins for bytes."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in plain]
    return {b: b for b in plain} | {b: 256 + i for i, b in enumerate(rest)}


def _parts(token: bytes, ranks: dict[bytes, int]) -> tuple[bytes, bytes]:
    parts = [bytes([b]) for b in token]
    while len(parts) > 2:
        best = min(
            (ranks[parts[i] + parts[i + 1]], i)
            for i in range(len(parts) - 1)
            if ranks.get(parts[i] + parts[i + 1], len(ranks)) < ranks[token]
        )[1]
        parts[best : best + 2] = [parts[best] + parts[best + 1]]
    return parts[0], parts[1]


def random_text(rng: random.Random) -> str:
    return "".join(rng.choice(WORDS) for _ in range(rng.randrange(1, 30)))


def test_qwen3_encodes_as_the_tokenizer_file_does(file_tokenizer: FileTokenizer) -> None:
    rng = random.Random(0)
    texts = HARD + [random_text(rng) for _ in range(500)] + [Path(__file__).read_text()]
    assert [t for t in texts if QWEN3.encode(t) != file_tokenizer.encode(t)] == []


def test_qwen3_encodes_as_its_published_file_does(qwen3_file: Path) -> None:
    published = FileTokenizer(qwen3_file)
    assert published.added == QWEN3.added
    assert published.additive
    assert [t for t in HARD if QWEN3.encode(t) != published.encode(t)] == []


@pytest.mark.needs("realdata")
def test_counts_of_real_passages_add_over_ten_thousand_random_joins(realdata: Path) -> None:
    lines = (realdata / "search" / "corpus.jsonl").read_text().splitlines()
    texts = [json.loads(line)["text"] for line in lines]
    rng = random.Random(1)
    wrong = naive = 0
    for _ in range(10_000):
        a, b = rng.choice(texts)[-300:], rng.choice(texts)[:300]
        left, right = f"Document: a\n{a}\n\n", f"Document: b\n{b}\n\n"
        wrong += QWEN3.count(left) + QWEN3.count(right) != QWEN3.count(left + right)
        naive += QWEN3.count(a) + QWEN3.count("\n\n") + QWEN3.count(b) != QWEN3.count(f"{a}\n\n{b}")
    assert wrong == 0
    assert naive > 5_000


def test_counts_add_over_a_line_feed_and_a_letter() -> None:
    rng = random.Random(2)
    for _ in range(10_000):
        left, right = random_text(rng) + "\n", "D" + random_text(rng)
        assert QWEN3.count(left) + QWEN3.count(right) == QWEN3.count(left + right), (left, right)


def test_counts_do_not_add_elsewhere() -> None:
    rng = random.Random(3)
    pairs = [(random_text(rng), random_text(rng)) for _ in range(1000)]
    assert any(QWEN3.count(a) + QWEN3.count(b) != QWEN3.count(a + b) for a, b in pairs)


def test_the_fast_normalisation_is_nfc() -> None:
    rng = random.Random(4)
    for text in HARD + [random_text(rng) for _ in range(2000)]:
        assert nfc(text) == unicodedata.normalize("NFC", text)


def test_a_million_blanks_in_a_row_are_counted() -> None:
    """Counts are those of Qwen3's own file."""
    assert QWEN3.count("a" + " " * 1_000_000 + "x") == 7815


def test_blanks_that_are_encoded_by_themselves_are_encoded_as_with_the_rest() -> None:
    assert isinstance(QWEN3, RankTokenizer)
    rng = random.Random(5)
    blanks = ["   ", "\t\t", " \u3000 \x85", "\xa0\xa0 ", " \u2028  ", "\n", "\x1c", "\r\n  ", "\u200b"]
    for _ in range(10_000):
        text = nfc("".join(rng.choice(WORDS + blanks) for _ in range(rng.randrange(1, 12))))
        assert QWEN3._plain(text, 2) == QWEN3._plain(text), repr(text)


def test_a_file_of_an_unproven_form_is_not_additive(file_tokenizer: FileTokenizer, tmp_path: Path) -> None:
    assert file_tokenizer.additive
    data = json.loads(Path(file_tokenizer.name).read_text())
    data["normalizer"] = {"type": "NFKC"}
    (tmp_path / "other.json").write_text(json.dumps(data))
    assert not FileTokenizer(tmp_path / "other.json").additive


def test_decoding_gives_the_text_back() -> None:
    assert QWEN3.decode(QWEN3.encode(HARD[-1])) == HARD[-1]


@pytest.mark.parametrize(("name", "words"), [("gpt5", "neither 'qwen3' nor the path"), (__file__, "no readable")])
def test_an_unknown_tokenizer_is_named(name: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        load_tokenizer(name)
