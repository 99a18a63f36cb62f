"""Indexing and embedding killed with SIGKILL wherever they are, and gone on with: nothing lost, nothing twice."""

import asyncio
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
from aiohttp import web

from envs.blobs import MemoryBlobs
from envs.environment import Site
from envs.search.environment import SearchEnvironment
from envs.search.indexing import index_corpus
from envs.search.ledger import read_ledger
from envs.search.library import Library, corpus_folder, version_folder
from envs.search.query import understand
from envs.search.tools import SEARCH
from envs.search.vectors import nearest
from envs.task import Task

DOCUMENTS = 4000
INDEX = """
import sys
from pathlib import Path
from envs.blobs import MemoryBlobs
from envs.environment import Site
from envs.search.indexing import index_corpus
words = 0
def tell(done, total):
    global words
    words += 1
    print(done, flush=True)
    if words == int(sys.argv[3]):
        sys.stdin.readline()
done = index_corpus(Path(sys.argv[1]), "c", Site(Path(sys.argv[2]), MemoryBlobs()), progress=tell, commit_bytes=20_000)
print("resumed", done.resumed, flush=True)
"""
TRAJC = str(Path(sys.executable).parent / "trajc")


def write(path: Path, word: str, count: int = DOCUMENTS) -> Path:
    rows = ({"id": f"d{n}", "title": f"T {n}", "text": f"{word} common number{n}"} for n in range(count))
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return path


def killed(source: Path, home: Path, lines: int, later: float) -> bool:
    """Index, and kill it `later` seconds after its `lines`-th word of progress; while it says that word where `later`
    is 0. Whether it was still at work."""
    command = [sys.executable, "-c", INDEX, str(source), str(home), str(lines)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as indexing:
        assert indexing.stdin is not None
        assert indexing.stdout is not None
        for _ in range(lines):
            indexing.stdout.readline()
        if later:
            indexing.stdin.write(b"\n")
            time.sleep(later)
        at_work = indexing.poll() is None
        indexing.kill()
    return at_work


def state(home: Path, version: str) -> tuple[int, list[tuple[str, float]], int]:
    """How many documents the version's index holds, how it ranks, and how many its ledger names."""
    corpus = Library(Site(home, MemoryBlobs())).open("c", version)
    hits = corpus.search(understand("number7 number77 number123"), 20)
    ledger = read_ledger(version_folder(corpus_folder(home, "c"), version) / "ledger.arrow")
    return len(corpus), [(hit.document.id, hit.score) for hit in hits], len(ledger)


def test_an_indexer_killed_anywhere_makes_the_same_version_in_the_end(tmp_path: Path) -> None:
    """In the middle, between commits, and after the last document, where the version is being published."""
    first, second = write(tmp_path / "1.jsonl", "old"), write(tmp_path / "2.jsonl", "new")
    whole = index_corpus(second, "c", Site(tmp_path / "whole", MemoryBlobs())).manifest
    home, chance = tmp_path / "home", random.Random(7)
    before = index_corpus(first, "c", Site(home, MemoryBlobs())).manifest
    untouched = state(home, before.version)
    points = [(1, 0.0), (3, 0.02), (2, 0.0), (4, 0.0), (5, 0.0), *((5, chance.uniform(0, 0.15)) for _ in range(4))]
    at_work = [killed(second, home, *point) for point in points]
    assert sum(at_work) >= 4, "each that was killed while it spoke"
    assert state(home, before.version) == untouched
    made = index_corpus(second, "c", Site(home, MemoryBlobs()))
    assert made.manifest.version == whole.version
    assert state(home, whole.version) == state(tmp_path / "whole", whole.version)
    assert state(home, before.version) == untouched


def test_a_run_cut_off_while_it_published_doubles_nothing(tmp_path: Path) -> None:
    """A version whose notes were not tidied away, and that is not yet called the newest, is whole all the same."""
    source, home = write(tmp_path / "c.jsonl", "w", 50), tmp_path / "home"
    site = Site(home, MemoryBlobs())
    made = index_corpus(source, "c", site).manifest
    folder = version_folder(corpus_folder(home, "c"), made.version)
    (folder / "started_from").write_text("what a cut-off run had not removed")
    (folder / "parts").mkdir()
    (corpus_folder(home, "c") / "latest").unlink()
    again = index_corpus(source, "c", site)
    assert (again.manifest, state(home, made.version)[0]) == (made, 50)


class Killed(BaseException):
    pass


def test_a_run_cut_off_while_it_threw_an_index_away_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is half removed is no index to go on from."""
    old, new, home = write(tmp_path / "1.jsonl", "old", 50), write(tmp_path / "2.jsonl", "new", 60), tmp_path / "home"
    site = Site(home, MemoryBlobs())
    index_corpus(old, "c", site)
    remove = shutil.rmtree

    def dies(folder: Path, **_: bool) -> None:
        if folder.exists():
            remove(folder / "parts")
            raise Killed

    with monkeypatch.context() as dying:
        dying.setattr(shutil, "rmtree", dies)
        with pytest.raises(Killed):
            index_corpus(new, "c", site)
    made = index_corpus(new, "c", site).manifest
    assert (state(home, made.version)[0], made.stale) == (60, 0)


class Slow:
    """An embeddings server that stops answering after `patience` texts; `asked` counts how often each text came."""

    def __init__(self, patience: int) -> None:
        self.patience = patience
        self.asked: Counter[str] = Counter()
        self.stuck = asyncio.Event()

    async def embed(self, request: web.Request) -> web.Response:
        texts = (await request.json())["input"]
        if sum(self.asked.values()) >= self.patience:
            self.stuck.set()
            await asyncio.sleep(600)
        self.asked.update(texts)
        rows = [{"index": n, "embedding": [float(len(text)), 1.0]} for n, text in enumerate(texts)]
        return web.json_response({"data": rows})


@pytest.fixture
async def slow() -> AsyncIterator[tuple[Slow, str]]:
    fake = Slow(patience=600)
    app = web.Application()
    app.router.add_post("/v1/embeddings", fake.embed)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield fake, f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    await runner.cleanup()


async def command(home: Path, *words: str, **more: str) -> asyncio.subprocess.Process:
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("TRAJC_", "OPENAI_"))}
    environ |= {"TRAJC_HOME": str(home), **more}
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(TRAJC, *words, env=environ, stdout=pipe, stderr=pipe)


async def test_the_embed_command_killed_goes_on_where_it_was(tmp_path: Path, slow: tuple[Slow, str]) -> None:
    server, url = slow
    home = tmp_path / "home"
    site = Site(home, MemoryBlobs())
    version = index_corpus(write(tmp_path / "c.jsonl", "w", 1000), "c", site).manifest.version
    words = ("tasks", "embed", "c", "--url", url, "--model", "tiny", "--json")
    cut = await command(home, *words)
    await asyncio.wait_for(server.stuck.wait(), 300)
    second = await command(home, *words)
    _, said = await second.communicate()
    assert (second.returncode, b"is being embedded by another process" in said) == (1, True)
    cut.kill()
    await cut.communicate()
    server.patience = 10**9
    out, said = await (await command(home, *words)).communicate()
    kept = 2 * 256  # two whole waves were written before the server fell silent
    expected = {"corpus": "c", "model": "tiny", "version": version, "embedded": 1000 - kept, "before": kept}
    assert orjson.loads(out) == expected, said
    assert len(server.asked) == 1000
    assert sum(server.asked.values()) - 1000 <= 256
    assert len(nearest(site, Library(site).open("c"), "tiny").ids) == 1000
    settings = {"search": {"ranking": "both", "embeddings": {"base_url": url, "model": "tiny"}}}
    again = await command(home, "tasks", "embed", "c", TRAJC_ENVIRONMENTS=orjson.dumps(settings).decode())
    out, said = await again.communicate()
    assert out.decode() == f"c {version}: 1000 documents by tiny\n"
    assert said.decode().endswith("0 embedded, 1000 had been before\n")
    searching = SearchEnvironment(Site(home, site.blobs, settings["search"]))
    session = await searching.start(Task(id="t", environment="search", question="?", world={"corpus": "c"}), {})
    found = await session.call("search", SEARCH.parse({"query": "number77"}))
    assert found.evidence[0].source == "d77"
    await searching.close()


async def test_the_embed_command_without_an_endpoint_says_what_to_give(tmp_path: Path) -> None:
    asked = await command(tmp_path, "tasks", "embed", "c")
    _, said = await asked.communicate()
    words = "trajc: no embeddings endpoint is set: give --url and --model, or set `embeddings`\n"
    assert (asked.returncode, said.decode()) == (1, words)
