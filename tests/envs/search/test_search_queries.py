"""Whatever is typed gives results or an empty list."""

import random
from concurrent.futures import ThreadPoolExecutor

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.blobs import MemoryBlobs
from envs.environment import Site
from envs.search.corpus import Corpus
from envs.search.indexing import index_corpus
from envs.search.library import Library
from envs.search.query import MAX_TERMS, Words, understand

TEXTS = {
    "paris": "Paris is the capital of France, seat of the Sénat.",
    "tokyo": "東京は日本の首都である。",
    "moscow": "Москва является столицей России.",
    "new york": "New York City is the largest city. A new city in York is not.",
    "york": "York, a new city? The new one is far from York.",
    "thai": "กรุงเทพมหานครเป็นเมืองหลวง",
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("queries")
    rows = [{"id": id, "title": "", "text": text} for id, text in TEXTS.items()]
    (folder / "c.jsonl").write_bytes(b"\n".join(map(orjson.dumps, rows)))
    site = Site(folder, MemoryBlobs())
    index_corpus(folder / "c.jsonl", "c", site)
    return Library(site).open("c")


def ids(corpus: Corpus, query: str) -> list[str]:
    return [hit.document.id for hit in corpus.search(understand(query), 10)]


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("capitals of France", "paris"),
        ("senat", "paris"),
        ("SÉNAT", "paris"),
        ("Se\u0301nat", "paris"),
        ("首都", "tokyo"),
        ("東京", "tokyo"),
        ("столицей", "moscow"),
        ("เมืองหลวง", "thai"),
        ('"new york"', "new york"),
        ("“new york”", "new york"),
        ("title:capital AND (france OR", "paris"),
        ("ＰＡＲＩＳ", "paris"),
    ],
)
def test_words_are_found_in_every_spelling_and_script(corpus: Corpus, query: str, first: str) -> None:
    assert ids(corpus, query)[0] == first


def test_a_quoted_phrase_ranks_above_the_same_words_apart(corpus: Corpus) -> None:
    assert ids(corpus, '"new city in york"')[0] == "new york"
    assert set(ids(corpus, "new york")) == {"new york", "york"}


ODD = [
    "",
    " \t\n",
    '"',
    '""',
    "'",
    "(" * 5000 + "x" + ")" * 5000,
    "[" * 3000,
    "AND OR NOT",
    "+paris -france",
    "a:b:c^2~3",
    "title:*",
    "*",
    "?",
    "[a TO z]",
    "/re.*x/",
    "\\",
    '\\\\"',
    "\ud800 paris \udfff",
    "\x00paris\x00",
    "paris " * 2000,
    "x" * 10_000,
    " ".join(f"w{n}" for n in range(5000)),
    "🦀" * 100,
    "e\u0301" * 4000,
    "\u202eparis",
    "{}" * 500,
    "paris)))(((",
    '"' * 999 + "paris",
    "' OR 1=1 --",
    "<script>alert(1)</script>",
    "%s%n",
    "​​",
]


@pytest.mark.parametrize("query", ODD, ids=range(len(ODD)))
def test_odd_queries_give_a_list(corpus: Corpus, query: str) -> None:
    assert ("paris" in ids(corpus, query)) == ("paris" in query.lower().split('"')[-1].replace("\x00", " "))


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=300))
def test_any_text_gives_a_list(query: str) -> None:
    assert isinstance(understand(query), Words)


@settings(max_examples=300, deadline=None)
@given(query=st.text(alphabet='ab"() :*?~^+-[]{}\\/\ud800é東', max_size=60))
def test_any_operators_give_a_list(corpus: Corpus, query: str) -> None:
    assert isinstance(ids(corpus, query), list)


def test_what_a_long_query_loses_is_counted() -> None:
    assert understand(" ".join(f"w{n}" for n in range(100))).left_out == 100 - MAX_TERMS
    assert understand("a short query").left_out == 0
    assert understand("x" * 10_000 + " tail of it").left_out == 3


def test_threads_share_a_corpus(corpus: Corpus) -> None:
    queries = ["capital of france", "столицей", "首都", "new york", '"new york" city'] * 80
    random.Random(3).shuffle(queries)
    expected = {query: ids(corpus, query) for query in set(queries)}
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda q: ids(corpus, q), queries)) == [expected[q] for q in queries]
