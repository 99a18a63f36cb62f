"""Corpora are versioned by content, cost what changed, and outlive a crash."""

import shutil
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from envs.blobs import MemoryBlobs
from envs.environment import Site
from envs.search.corpus import Corpus
from envs.search.document import CorpusError, Document
from envs.search.indexing import Indexed, index_corpus
from envs.search.ledger import write_changes
from envs.search.library import Library, corpora
from envs.search.query import understand


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "home", MemoryBlobs())


def write(path: Path, documents: list[Document]) -> Path:
    path.write_bytes(b"".join(orjson.dumps(d._asdict()) + b"\n" for d in documents))
    return path


def numbered(count: int, word: str = "common") -> list[Document]:
    return [Document(f"d{n}", f"Title {n}", f"{word} text number{n}") for n in range(count)]


def account(done: Indexed) -> dict[str, int]:
    return {k: getattr(done, k) for k in ("added", "changed", "unchanged", "removed", "resumed")}


def counts(**given: int) -> dict[str, int]:
    return {**dict.fromkeys(("added", "changed", "unchanged", "removed", "resumed"), 0), **given}


def ids(corpus: Corpus, query: str, top_k: int = 50) -> set[str]:
    return {hit.document.id for hit in corpus.search(understand(query), top_k)}


def test_the_version_follows_the_content_and_not_its_order(tmp_path: Path, site: Site) -> None:
    documents = numbered(30)
    one = index_corpus(write(tmp_path / "a.jsonl", documents), "one", site).manifest
    two = index_corpus(write(tmp_path / "b.jsonl", documents[::-1]), "two", site).manifest
    other = index_corpus(write(tmp_path / "c.jsonl", documents[1:]), "three", site).manifest
    assert one.version == two.version != other.version
    assert corpora(site) == (one, other, two)
    assert (one.documents, one.bytes) == (30, sum(len(d.text) for d in documents))


def test_indexing_again_costs_what_changed_and_leaves_the_old_version_as_it_was(tmp_path: Path, site: Site) -> None:
    path = tmp_path / "c.jsonl"
    first = index_corpus(write(path, numbered(100)), "c", site)
    assert account(first) == counts(added=100)
    changed = [*numbered(99)[1:], Document("d0", "Title 0", "rewritten words"), Document("new", "New", "common")]
    second = index_corpus(write(path, changed), "c", site)
    assert account(second) == counts(added=1, changed=1, unchanged=98, removed=1)
    library = Library(site)
    old, new = library.open("c", first.manifest.version), library.open("c")
    assert (len(old), len(new)) == (100, 100)
    assert (ids(old, "rewritten"), ids(new, "rewritten")) == (set(), {"d0"})
    assert (ids(old, "number99"), ids(new, "number99")) == ({"d99"}, set())
    third = index_corpus(write(path, numbered(100)), "c", site)
    assert third.manifest.version == first.manifest.version
    assert account(index_corpus(path, "c", site)) == counts(unchanged=100)


def test_a_document_that_is_gone_is_missing(tmp_path: Path, site: Site) -> None:
    index_corpus(write(tmp_path / "c.jsonl", numbered(100)), "c", site)
    index_corpus(write(tmp_path / "c.jsonl", numbered(99)), "c", site)
    assert Library(site).open("c").missing(("d98", "d99", "d100")) == ("d99", "d100")


def test_of_several_parts_of_one_page_its_url_opens_the_same_wherever_it_was_indexed(
    tmp_path: Path, site: Site
) -> None:
    parts = [Document(f"p{n}", "Page", f"part {n}", "https://x.test/page") for n in range(9)]
    for name, order in (("one", parts), ("two", parts[::-1]), ("three", parts[4:] + parts[:4])):
        index_corpus(write(tmp_path / "c.jsonl", order), name, site, commit_bytes=10)
        assert Library(site).open(name).document("https://x.test/page") == parts[0]


def test_equals_are_listed_alike_wherever_they_were_indexed(tmp_path: Path, site: Site) -> None:
    equals = [Document(f"d{n:04}", "", "the same words") for n in range(3000)]
    for name, order in (("one", equals), ("two", equals[1500:] + equals[1499::-1])):
        index_corpus(write(tmp_path / "c.jsonl", order), name, site, commit_bytes=10_000)
        hits = Library(site).open(name).search(understand("same words"), 3)
        assert [hit.document.id for hit in hits] == ["d0000", "d0001", "d0002"]


class Cut(Exception):
    pass


def test_a_run_that_was_cut_off_is_taken_up_where_it_committed(tmp_path: Path, site: Site) -> None:
    path = write(tmp_path / "c.jsonl", numbered(5000))

    def cut(done: int, total: int) -> None:
        assert total == 5000
        if done == 4000:
            raise Cut

    with pytest.raises(Cut):
        index_corpus(path, "c", site, progress=cut, commit_bytes=20_000)
    assert corpora(site) == ()
    done = index_corpus(path, "c", site)
    assert done.added == 5000
    assert 3000 < done.resumed < 4001
    corpus = Library(site).open("c")
    assert len(corpus) == 5000
    assert ids(corpus, "number4321 number17") == {"d4321", "d17"}
    fresh = index_corpus(path, "fresh", site)
    assert fresh.manifest.version == done.manifest.version


def test_an_index_that_is_made_anew_is_taken_up_where_it_was_cut_off(tmp_path: Path, site: Site) -> None:
    """Where most documents changed, a first pass finds that out and a second makes the index whole."""
    index_corpus(write(tmp_path / "old.jsonl", numbered(3000)), "c", site)
    changed = write(tmp_path / "new.jsonl", [*numbered(2900, "changed"), *numbered(3000)[2900:]])
    told: list[int] = []

    def cut(done: int, _total: int) -> None:
        told.append(done)
        if told.count(3000) == 3:  # 3000 is told twice by each pass
            raise Cut

    with pytest.raises(Cut):
        index_corpus(changed, "c", site, progress=cut, commit_bytes=5000)
    assert account(index_corpus(changed, "c", site, progress=lambda d, _: told.append(d)))["resumed"] > 2000
    assert [done // 1000 for done in told] == [1, 2, 3, 3, 1, 2, 3, 1, 2, 3, 3]
    again = index_corpus(changed, "fresh", site).manifest
    assert scores(site, "c") == scores(site, "fresh")
    assert corpora(site)[0] == again.model_copy(update={"name": "c"})


def test_documents_that_changed_between_a_cut_off_run_and_the_next_count_as_stale(tmp_path: Path, site: Site) -> None:
    path = write(tmp_path / "c.jsonl", numbered(3000))

    def cut(done: int, _total: int) -> None:
        if done == 2000:
            raise Cut

    with pytest.raises(Cut):
        index_corpus(path, "c", site, progress=cut, commit_bytes=5000)
    few = index_corpus(write(path, [*numbered(50, "changed"), *numbered(3000)[50:]]), "c", site)
    assert (few.added, few.manifest.stale) == (3000, 50)
    with pytest.raises(Cut):
        index_corpus(path, "d", site, progress=cut, commit_bytes=5000)
    many = index_corpus(write(path, numbered(3000)), "d", site)
    assert (many.added, many.manifest.stale) == (3000, 50)
    most = index_corpus(write(path, numbered(3000, "other")), "d", site)
    assert (most.changed, most.manifest.stale) == (3000, 0)


_INDEX_AND_DIE = """
import os, sys
from pathlib import Path
from envs.blobs import MemoryBlobs
from envs.environment import Site
from envs.search.indexing import index_corpus

site = Site(Path(sys.argv[2]), MemoryBlobs())
die = lambda done, total: os._exit(9) if done == 3000 else None
index_corpus(Path(sys.argv[1]), "c", site, progress=die, commit_bytes=20_000)
"""


def test_a_killed_indexer_blocks_nobody_and_loses_no_document(tmp_path: Path, site: Site) -> None:
    path = write(tmp_path / "c.jsonl", numbered(4000))
    dying = subprocess.run([sys.executable, "-c", _INDEX_AND_DIE, path, site.root], timeout=300, check=False)
    assert dying.returncode == 9
    done = index_corpus(path, "c", site)
    assert (done.added, len(Library(site).open("c"))) == (4000, 4000)
    assert done.resumed > 0


def test_a_note_of_a_commit_that_never_happened_is_not_believed(tmp_path: Path, site: Site) -> None:
    path = write(tmp_path / "c.jsonl", numbered(3000))

    def cut(_done: int, _total: int) -> None:
        raise Cut

    with pytest.raises(Cut):
        index_corpus(path, "c", site, progress=cut, commit_bytes=5_000)
    parts = site.root / "corpora" / "c" / "building" / "parts"
    write_changes(parts / "999999.arrow", {"d2999": b"x" * 16})
    index_corpus(path, "c", site)
    assert ids(Library(site).open("c"), "number2999") == {"d2999"}


def test_duplicate_ids_are_named_with_both_lines_and_publish_nothing(tmp_path: Path, site: Site) -> None:
    path = write(tmp_path / "c.jsonl", [*numbered(10), Document("d3", "again", "")])
    with pytest.raises(CorpusError, match=r"'d3': c.jsonl line 4 and c.jsonl line 11"):
        index_corpus(path, "c", site)
    assert corpora(site) == ()
    assert index_corpus(write(path, numbered(10)), "c", site).manifest.documents == 10


def test_unknown_names_and_versions_name_the_known(tmp_path: Path, site: Site) -> None:
    made = index_corpus(write(tmp_path / "c.jsonl", numbered(1)), "known", site).manifest
    library = Library(site)
    for name, version, words in [
        ("other", None, "unknown corpus 'other'; known: known"),
        ("known", "0" * 64, f"no version '{'0' * 64}' here; known: {made.version}"),
        ("known", "../../x", "no version"),
        ("../known", None, "cannot name a corpus"),
    ]:
        with pytest.raises(CorpusError, match=words):
            library.open(name, version)


def test_the_default_licence_stands_where_a_document_names_none(tmp_path: Path, site: Site) -> None:
    documents = [Document("a", "A", "x"), Document("b", "B", "x", licence="MIT")]
    index_corpus(write(tmp_path / "c.jsonl", documents), "c", site, licence="CC-BY-4.0")
    corpus = Library(site).open("c")
    assert corpus.document("a") == Document("a", "A", "x", licence="CC-BY-4.0")
    assert corpus.document("b") == documents[1]


def test_a_corpus_of_nothing_can_be_searched(tmp_path: Path, site: Site) -> None:
    index_corpus(write(tmp_path / "c.jsonl", []), "empty", site)
    corpus = Library(site).open("empty")
    assert (len(corpus), corpus.search(understand("anything"), 5), corpus.document("a")) == (0, [], None)


_READ_ON = """
import sys
from pathlib import Path
from envs.blobs import MemoryBlobs
from envs.environment import Site
from envs.search.library import Library
from envs.search.query import understand

corpus = Library(Site(Path(sys.argv[1]), MemoryBlobs())).open("c", sys.argv[2])
print("open", flush=True)
for line in sys.stdin:
    print(" ".join(sorted(hit.document.id for hit in corpus.search(understand(line), 2))), flush=True)
"""


def test_several_processes_read_while_the_next_version_is_made(tmp_path: Path, site: Site) -> None:
    path = write(tmp_path / "c.jsonl", numbered(2000))
    version = index_corpus(path, "c", site).manifest.version
    command = [sys.executable, "-c", _READ_ON, site.root, version]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    readers = [subprocess.Popen(command, **pipes) for _ in range(2)]  # type: ignore[call-overload]
    try:
        assert [reader.stdout.readline() for reader in readers] == ["open\n"] * 2
        index_corpus(write(path, numbered(2000, "changed")), "c", site)
        found = [reader.communicate("number7 number8\nchanged\n", timeout=300)[0] for reader in readers]
    finally:
        for reader in readers:
            reader.kill()
            reader.wait()
    assert found == ["d7 d8\n\n"] * 2


def test_a_damaged_index_is_named_and_can_be_made_again(tmp_path: Path, site: Site) -> None:
    path = write(tmp_path / "c.jsonl", numbered(5))
    version = index_corpus(path, "c", site).manifest.version
    folder = site.root / "corpora" / "c" / "versions" / version
    (folder / "index" / "meta.json").write_text("{")
    with pytest.raises(CorpusError, match=f"index of corpus 'c' cannot be opened: .*delete {folder}, index again"):
        Library(site).open("c")
    shutil.rmtree(folder)
    assert index_corpus(path, "c", site).manifest.version == version
    assert len(Library(site).open("c")) == 5


def test_two_indexers_of_one_corpus_are_kept_apart(tmp_path: Path, site: Site) -> None:
    path = write(tmp_path / "c.jsonl", numbered(1000))
    refused: list[str] = []

    def meanwhile(_done: int, _total: int) -> None:
        with pytest.raises(CorpusError, match="being indexed by another process") as e:
            index_corpus(path, "c", site)
        refused.append(str(e.value))

    assert index_corpus(path, "c", site, progress=meanwhile).manifest.documents == 1000
    assert len(refused) > 0


def scores(site: Site, name: str) -> list[tuple[str, float]]:
    hits = Library(site).open(name).search(understand("common other number7 number190 title"), 20)
    return [(hit.document.id, hit.score) for hit in hits]


def test_the_same_version_ranks_the_same_wherever_it_was_made_whole(tmp_path: Path, site: Site) -> None:
    documents = numbered(200)
    index_corpus(write(tmp_path / "a.jsonl", documents), "straight", site)
    index_corpus(write(tmp_path / "b.jsonl", documents[::-1]), "backwards", site, commit_bytes=1000)
    assert scores(site, "straight") == scores(site, "backwards")

    index_corpus(write(tmp_path / "c.jsonl", [*numbered(50, "other"), *documents[50:]]), "mended", site)
    many = index_corpus(tmp_path / "a.jsonl", "mended", site)
    assert (many.changed, many.manifest.stale) == (50, 0)
    assert scores(site, "mended") == scores(site, "straight")

    few = index_corpus(write(tmp_path / "d.jsonl", [*numbered(5, "other"), *documents[5:]]), "mended", site)
    assert (few.changed, few.manifest.stale) == (5, 5)
