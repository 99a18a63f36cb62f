"""Ranking by embeddings finds what shares no word, costs what is new, and fails as ours and not as the model's."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from envs.blobs import MemoryBlobs
from envs.environment import Site
from envs.errors import EnvironmentFailure, TaskError
from envs.search.document import CorpusError
from envs.search.endpoint import EndpointSettings
from envs.search.environment import SearchEnvironment
from envs.search.indexing import index_corpus
from envs.search.ranking import fused
from envs.search.tools import SEARCH
from envs.search.vectors import embed_corpus
from envs.task import Task
from envs.tool import ToolResult

MEANINGS: dict[str, list[float]] = {
    "car": [1, 0, 0],
    "automobile": [0.99, 0.1, 0],
    "boat": [0, 1, 0],
    "ship": [0.1, 0.99, 0],
}
TASK = Task(id="t", environment="search", question="?", world={"corpus": "c"})
ROWS = [
    {"id": "auto", "title": "", "text": "an automobile"},
    {"id": "ship", "title": "", "text": "a ship"},
    {"id": "carwash", "title": "", "text": "car car car of nothing"},
]


class EmbeddingServer:
    """Embeds a text by the last of the words that it knows; `texts` keeps what it was asked."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.status = 200
        self.malformed: bytes | None = None

    async def embed(self, request: web.Request) -> web.Response:
        if self.status != 200:
            return web.Response(status=self.status, text="out of order")
        texts = (await request.json())["input"]
        if max(map(len, texts)) > 8000:
            return web.Response(status=400, text="longer than the model's context")
        self.texts += texts
        if self.malformed is not None:
            wrong = b",".join(b'{"index": %d, "embedding": %b}' % (n, self.malformed) for n in range(len(texts) - 1))
            last = b',{"index": %d, "embedding": [1, 0, 0]}' % (len(texts) - 1)
            return web.Response(body=b'{"data": [' + wrong + last + b"]}", content_type="application/json")
        rows = [{"index": n, "embedding": self.vector(text)} for n, text in enumerate(texts)]
        return web.json_response({"data": rows[::-1]})

    def vector(self, text: str) -> list[float]:
        known = [MEANINGS[word] for word in text.split() if word in MEANINGS]
        return known[-1] if known else [0, 0, 1]


@pytest.fixture
async def server() -> AsyncIterator[tuple[EmbeddingServer, dict[str, Any]]]:
    fake = EmbeddingServer()
    app = web.Application()
    app.router.add_post("/v1/embeddings", fake.embed)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield fake, {"base_url": f"http://127.0.0.1:{runner.addresses[0][1]}/v1", "model": "tiny"}
    await runner.cleanup()


def index(folder: Path, rows: list[dict[str, str]]) -> Site:
    site = Site(folder, MemoryBlobs())
    (folder / "c.jsonl").write_bytes(b"\n".join(map(orjson.dumps, rows)))
    index_corpus(folder / "c.jsonl", "c", site)
    return site


async def found(site: Site, query: str | list[str], ranking: str, embeddings: dict[str, Any]) -> list[str]:
    return [piece.source for piece in (await asked(site, query, ranking, embeddings)).evidence]


async def asked(site: Site, query: str | list[str], ranking: str, embeddings: dict[str, Any]) -> ToolResult:
    searching = SearchEnvironment(Site(site.root, site.blobs, {"ranking": ranking, "embeddings": embeddings}))
    try:
        session = await searching.start(TASK, {})
        return await session.call("search", SEARCH.parse({"query": query, "top_k": 2}))
    finally:
        await searching.close()


async def test_meaning_finds_what_shares_no_word(tmp_path: Path, server: tuple[EmbeddingServer, Any]) -> None:
    _, embeddings = server
    site = index(tmp_path, [row for row in ROWS if row["id"] != "carwash"])
    assert (await embed_corpus("c", site, EndpointSettings(**embeddings))).embedded == 2
    assert await found(site, "boat", "words", embeddings) == []
    assert await found(site, "boat", "meaning", embeddings) == ["ship", "auto"]
    assert await found(site, ["boat", "", "car"], "meaning", embeddings) == ["ship", "auto", "auto", "ship"]


async def test_a_query_longer_than_the_model_takes_in_is_answered_by_its_beginning(
    tmp_path: Path, server: tuple[EmbeddingServer, Any]
) -> None:
    _, embeddings = server
    site = index(tmp_path, ROWS)
    await embed_corpus("c", site, EndpointSettings(**embeddings))
    query = " " * 9000 + "boat " * 5000 + "car " * 5000
    told = "(the query is long: its meaning is that of its first 8000 characters, 36999 were left out)"
    for ranking in ("meaning", "both"):
        result = await asked(site, query, ranking, embeddings)
        assert [piece.source for piece in result.evidence] == ["ship", "auto"]
        assert told in result.text
        assert ("different words" in result.text) == (ranking == "both")


async def test_both_puts_first_what_both_find(tmp_path: Path, server: tuple[EmbeddingServer, Any]) -> None:
    _, embeddings = server
    site = index(tmp_path, ROWS)
    await embed_corpus("c", site, EndpointSettings(**embeddings))
    assert await found(site, "car", "both", embeddings) == ["carwash", "auto"]


async def test_only_what_is_new_is_embedded(tmp_path: Path, server: tuple[EmbeddingServer, Any]) -> None:
    fake, embeddings = server
    site = index(tmp_path, ROWS[:2])
    settings = EndpointSettings(**embeddings)
    await embed_corpus("c", site, settings)
    fake.texts.clear()
    site = index(tmp_path, [ROWS[0], {**ROWS[1], "text": "a large ship"}, ROWS[2]])
    with pytest.raises(EnvironmentFailure, match="2 of 3 documents of corpus 'c' have no embedding by 'tiny'"):
        await found(site, "car", "meaning", embeddings)
    made = await embed_corpus("c", site, settings)
    assert (made.embedded, made.before) == (2, 1)
    assert sorted(fake.texts) == ["\na large ship", "\ncar car car of nothing"]
    assert await embed_corpus("c", site, settings) == replace(made, embedded=0, before=3)


async def test_an_endpoint_that_fails_is_our_failure(tmp_path: Path, server: tuple[EmbeddingServer, Any]) -> None:
    fake, embeddings = server
    site = index(tmp_path, ROWS)
    await embed_corpus("c", site, EndpointSettings(**embeddings))
    fake.status = 400
    with pytest.raises(EnvironmentFailure, match="400: out of order"):
        await found(site, "car", "both", embeddings)
    with pytest.raises(CorpusError, match="unknown corpus"):
        await embed_corpus("d", site, EndpointSettings(**embeddings))


@pytest.mark.parametrize(
    "vector", ["[]", "[1, 0]", "[1, NaN, 0]", "[1e400, 0, 0]", f"[1{'0' * 400}, 0, 0]", "[1e39, 0, 0]", '["x", 0, 0]']
)
async def test_vectors_that_are_none_are_our_failure_and_are_not_kept(
    tmp_path: Path, server: tuple[EmbeddingServer, Any], vector: str
) -> None:
    fake, embeddings = server
    site = index(tmp_path, ROWS)
    fake.malformed = vector.encode()
    with pytest.raises(EnvironmentFailure, match="numbers"):
        await embed_corpus("c", site, EndpointSettings(**embeddings))
    fake.malformed = None
    assert (await embed_corpus("c", site, EndpointSettings(**embeddings))).embedded == 3


def test_ranking_by_meaning_without_an_endpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="ranking 'both' needs `embeddings`"):
        SearchEnvironment(Site(tmp_path, MemoryBlobs(), {"ranking": "both"}))


def test_fusion_is_by_reciprocal_ranks() -> None:
    assert fused([["a", "b"], ["b", "c"]]) == [
        ("b", round(1 / 62 + 1 / 61, 6)),
        ("a", round(1 / 61, 6)),
        ("c", round(1 / 62, 6)),
    ]
