"""Five thousand queries that nobody would write, through the whole tool: a list each time, and never an error."""

import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import orjson
import pytest

from envs.blobs import MemoryBlobs
from envs.environment import Session, Site
from envs.search.environment import SearchEnvironment
from envs.search.indexing import index_corpus
from envs.search.tools import FIND, SEARCH, VISIT
from envs.task import Task

COUNT = 5000
WORDS = [
    "zebra",
    "Zürich",
    "東京",
    "моря",
    "AND",
    "OR",
    "NOT",
    "title:",
    "id:d1",
    "\u0e01\u0e32\u0e23",
    "naïve",
    "3.14",
    "κόσμος",
]
SIGNS = list("\"'()[]{}<>+-*/\\^~!?:;,.|&%$#@=_`\t\n\r\0\x1b\x7f\u200b\u202e\ufeff\u2028\xa0\xad\uffff")
SCRIPTS = [
    (0x20, 0x7E),
    (0xA0, 0x24F),
    (0x370, 0x5FF),
    (0x600, 0x6FF),
    (0x900, 0xD7F),
    (0xE00, 0xEFF),
    (0x1100, 0x11FF),
]
SCRIPTS += [
    (0x3040, 0x30FF),
    (0x4E00, 0x9FFF),
    (0xAC00, 0xD7A3),
    (0xD800, 0xDFFF),
    (0xE000, 0xF8FF),
    (0x1F300, 0x1FAFF),
]
Chance = random.Random


def of_words(r: Chance) -> str:
    return " ".join(r.choices(WORDS + SIGNS, k=r.randrange(12)))


def of_signs(r: Chance) -> str:
    return "".join(r.choices(SIGNS, k=r.randrange(60)))


def of_any_character(r: Chance) -> str:
    return "".join(chr(r.randrange(0x110000)) for _ in range(r.randrange(40)))


def of_one_script(r: Chance) -> str:
    low, high = r.choice(SCRIPTS)
    return "".join(chr(r.randint(low, high)) for _ in range(r.randrange(40)))


def nested(r: Chance) -> str:
    depth, pair = r.randrange(3000), r.choice(["()", "[]", '""', "{}", "«»"])
    return pair[0] * depth + r.choice(WORDS) + pair[1] * r.randrange(3000)


def of_syntax(r: Chance) -> str:
    word, other, sign = r.choice(WORDS), r.choice(WORDS), r.choice(SIGNS)
    forms = [
        f"{word}:{other}",
        f"{word}^{sign}",
        f"[{word} TO {other}",
        f"{word}~{r.random()}",
        f"body:IN [{word}",
        f"/{word}(/",
    ]
    return r.choice(
        [
            *forms,
            f'"{word} {other}"~{r.randrange(99)}',
            f"+{word} -{other}",
            f"*{sign}{word}*",
            f"{{!xmlparser v='{word}'}}",
        ]
    )


def long(r: Chance) -> str:
    return r.choice([*WORDS, *SIGNS, "a ", "x"]) * r.choice([100, 1000, 10_000])


def of_combining(r: Chance) -> str:
    return r.choice("aeiou漢") + "".join(chr(r.randint(0x300, 0x36F)) for _ in range(r.randrange(200)))


KINDS: list[Callable[[Chance], str]] = [
    of_words, of_signs, of_any_character, of_one_script, nested, of_syntax, long, of_combining
]  # fmt: skip


@pytest.fixture
async def session(tmp_path: Path) -> AsyncIterator[Session]:
    chance = random.Random(1)
    rows = [
        {"id": f"d{n}", "title": of_words(chance), "text": of_one_script(chance) + of_words(chance)} for n in range(200)
    ]
    rows = [{key: value.encode("utf-8", "replace").decode() for key, value in row.items()} for row in rows]
    rows += [{"id": "empty", "title": "", "text": ""}]
    (tmp_path / "c.jsonl").write_bytes(b"\n".join(map(orjson.dumps, rows)))
    site = Site(tmp_path, MemoryBlobs())
    index_corpus(tmp_path / "c.jsonl", "c", site)
    environment = SearchEnvironment(site)
    yield await environment.start(Task(id="t", environment="search", question="?", world={"corpus": "c"}), {})
    await environment.close()


async def test_any_query_is_answered_by_a_list(session: Session) -> None:
    chance = random.Random(20)
    queries = [chance.choice(KINDS)(chance) for _ in range(COUNT)]
    found = 0
    for start in range(0, COUNT, 10):
        result = await session.call("search", SEARCH.parse({"query": queries[start : start + 10], "top_k": 3}))
        assert not result.is_error
        assert {piece.rank for piece in result.evidence} <= {1, 2, 3}
        result.text.encode()
        found += len(result.evidence)
    assert found > COUNT // 4


async def test_any_id_and_any_pattern_is_answered(session: Session) -> None:
    chance = random.Random(21)
    for _ in range(500):
        text = chance.choice(KINDS)(chance)
        (await session.call("visit", VISIT.parse({"id": text}))).text.encode()
        (await session.call("find", FIND.parse({"id": "d7", "pattern": text}))).text.encode()
