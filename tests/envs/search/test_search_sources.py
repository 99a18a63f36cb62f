"""Sources are read from every promised shape, and what is wrong is named by file, line and field."""

import gzip
from pathlib import Path
from typing import Any

import datasets
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from envs.search.document import CorpusError, Document
from envs.search.pagetext import html_text
from envs.search.sources import open_source

ROWS: list[dict[str, Any]] = [
    {"id": "a", "title": "Alpha", "text": "first", "url": "https://x.test/a", "source": "s", "licence": "CC0-1.0"},
    {"id": 7, "title": "Seven", "text": "zweite Zeile: Ünïcode"},
]
DOCUMENTS = [
    Document("a", "Alpha", "first", "https://x.test/a", "s", "CC0-1.0"),
    Document("7", "Seven", "zweite Zeile: Ünïcode"),
]


def jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_bytes(b"\n".join(orjson.dumps(row) for row in rows) + b"\n")
    return path


def documents(path: Path, **columns: str) -> list[Document]:
    source = open_source(path, columns)
    found = [document for _, document in source.read()]
    assert source.count() == len(found)
    return found


def test_jsonl_plain_and_compressed_are_the_same_documents(tmp_path: Path) -> None:
    plain = jsonl(tmp_path / "c.jsonl", ROWS)
    packed = tmp_path / "d.jsonl.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes() + b"\n\n"))
    assert documents(plain) == documents(packed) == DOCUMENTS


def test_parquet_is_the_same_documents(tmp_path: Path) -> None:
    rows = [{**row, "id": str(row["id"])} for row in ROWS]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "c.parquet")
    assert documents(tmp_path / "c.parquet") == DOCUMENTS


def test_a_hugging_face_dataset_folder_is_read_past_its_readme(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# A dataset card\nIs no document.")
    (tmp_path / "data").mkdir()
    jsonl(tmp_path / "data" / "train.jsonl", ROWS)
    assert documents(tmp_path) == DOCUMENTS


def test_what_of_a_folder_is_not_read_is_told(tmp_path: Path) -> None:
    jsonl(tmp_path / "c.jsonl", ROWS)
    for name in ("notes.md", "README.md", "paper.pdf", "dataset_infos.json", ".hidden", "LICENSE"):
        (tmp_path / name).write_text("x")
    assert [path.name for path in open_source(tmp_path).left_out] == ["notes.md", "paper.pdf"]
    (tmp_path / "c.jsonl").unlink()
    assert [path.name for path in open_source(tmp_path).left_out] == ["paper.pdf"]


def test_a_link_to_rows_that_are_not_there_is_no_corpus_without_them(tmp_path: Path) -> None:
    jsonl(tmp_path / "1.jsonl", ROWS)
    (tmp_path / "2.jsonl").symlink_to(tmp_path / "not-downloaded")
    (tmp_path / "more").symlink_to(tmp_path, target_is_directory=True)
    with pytest.raises(CorpusError, match=r"2\.jsonl: damaged, or not what its name says: .*No such file"):
        documents(tmp_path)
    assert [path.name for path in open_source(tmp_path).left_out] == ["more"]


def test_a_dataset_saved_to_disk_is_read(tmp_path: Path) -> None:
    datasets.Dataset.from_list([{"_id": d.id, "title": d.title, "contents": d.text} for d in DOCUMENTS]).save_to_disk(
        str(tmp_path / "saved")
    )
    expected = [Document(d.id, d.title, d.text) for d in DOCUMENTS]
    assert documents(tmp_path / "saved", id="_id", text="contents") == expected
    assert open_source(tmp_path / "saved").left_out == ()


def test_a_folder_of_pages_takes_titles_from_the_pages(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "plain.txt").write_text("just text")
    (tmp_path / "note.md").write_text("intro\n\n## The Heading ##\nbody")
    (tmp_path / "page.html").write_text("<title>A &amp; B</title><script>no()</script><p>one<b>two</b><p>three")
    (tmp_path / ".hidden.txt").write_text("not a document")
    assert documents(tmp_path) == [
        Document("note.md", "The Heading", "intro\n\n## The Heading ##\nbody"),
        Document("page.html", "A & B", "onetwo\nthree"),
        Document("sub/plain.txt", "plain", "just text"),
    ]


def test_only_what_the_datasets_library_caches_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "cache-control.md").write_text("# Cache control")
    assert [d.id for d in documents(tmp_path)] == ["cache-control.md"]
    saved = datasets.Dataset.from_list([d._asdict() for d in DOCUMENTS])
    saved.save_to_disk(str(tmp_path / "saved"))
    shard = next((tmp_path / "saved").glob("data-*.arrow"))
    shard.with_name("cache-0123456789abcdef.arrow").write_bytes(shard.read_bytes())
    assert documents(tmp_path / "saved") == DOCUMENTS


def test_columns_that_are_no_ones_are_not_read(tmp_path: Path) -> None:
    """Their values may be none that Python can hold."""
    texts = {name: pa.array([row[name] for row in ROWS]) for name in ("title", "text")}
    table = pa.table({"id": pa.array(["a", "7"]), **texts, "when": pa.array([2**62, 0], pa.timestamp("us"))})
    pq.write_table(table, tmp_path / "c.parquet")
    with pa.ipc.new_stream(str(tmp_path / "c.arrow"), table.schema) as sink:
        sink.write_table(table)
    for name in ("c.parquet", "c.arrow"):
        assert [d.id for d in documents(tmp_path / name)] == ["a", "7"]
    pq.write_table(table.drop_columns(["title", "when"]), tmp_path / "less.parquet")
    with pytest.raises(CorpusError, match=r"row 1: field 'title' is missing; the row has: id, text"):
        documents(tmp_path / "less.parquet")


def spoilt(good: bytes) -> bytes:
    """With every seventh byte of its middle changed."""
    bad = bytearray(good)
    for at in range(len(bad) // 4, len(bad) // 2, 7):
        bad[at] ^= 0x55
    return bytes(bad)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    rows = [{"id": str(n), "title": "t", "text": f"text {n * 7919 % 1000} of {n}"} for n in range(3000)]
    packed = gzip.compress(b"\n".join(orjson.dumps(row) for row in rows))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "good.parquet", compression="snappy")
    with pa.ipc.new_stream(str(tmp_path / "good.arrow"), pa.Table.from_pylist(rows).schema) as sink:
        sink.write_table(pa.Table.from_pylist(rows))
    bad_text = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff")])
    pq.write_table(pa.table({"id": ["a"], "title": ["t"], "text": bad_text}), tmp_path / "text.parquet")
    for name, body in {
        "cut.jsonl.gz": packed[:-6],
        "spoilt.jsonl.gz": spoilt(packed),
        "plain.jsonl.gz": b'{"id": "a"}',
        "spoilt.parquet": spoilt((tmp_path / "good.parquet").read_bytes()),
        "cut.arrow": (tmp_path / "good.arrow").read_bytes()[:-80],
    }.items():
        (tmp_path / name).write_bytes(body)
        with pytest.raises(CorpusError, match=name):
            documents(tmp_path / name)
    with pytest.raises(CorpusError, match=r"text.parquet: damaged"):
        documents(tmp_path / "text.parquet")
    (tmp_path / "UPPER.JSONL.GZ").write_bytes(packed)
    assert len(documents(tmp_path / "UPPER.JSONL.GZ")) == 3000


@pytest.mark.parametrize(
    "broken", ["<p", "<title>never closed", "<<<>>>", "<style>gone", "", "<!doctype <a b='", "&#xffffff;"]
)
def test_broken_html_gives_what_can_be_read(broken: str) -> None:
    title, text = html_text(f"<p>before</p>{broken}")
    assert text.startswith("before")
    assert "gone" not in text + title


@pytest.mark.parametrize("tag", ["noscript", "object", "svg", "template", "iframe"])
def test_an_aside_that_is_never_closed_does_not_swallow_the_page(tag: str) -> None:
    head = "<svg><title>icon</title></svg><title>T</title>"
    page = f"<p>before<{tag}>aside</{tag}><{tag} a=b><style>gone</style><p>after<style>gone"
    assert html_text(head + page) == ("T", "before\nafter")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"id": "b", "text": "t"}', ["c.jsonl line 2", "'title'", "is missing", "id, text"]),
        ('{"id": "b", "title": "t", "text": 3}', ["c.jsonl line 2", "'text'", "must be text, not int"]),
        ('{"id": "", "title": "t", "text": ""}', ["c.jsonl line 2", "'id'", "1 to 512"]),
        ('{"id": "a\\nb", "title": "t", "text": ""}', ["c.jsonl line 2", "'id'", "printable"]),
        ('{"id": "b", "title": "t", "text": "t", "url": 5}', ["c.jsonl line 2", "'url'", "must be text, not int"]),
        ('{"id": "b", ', ["c.jsonl line 2", "not JSON"]),
        ("[1]", ["c.jsonl line 2", "JSON object, not list"]),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, line: str, words: list[str]) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text('{"id": "a", "title": "t", "text": ""}\n' + line + "\n")
    with pytest.raises(CorpusError) as e:
        documents(path)
    assert [w for w in words if w not in str(e.value)] == []


def test_lone_surrogates_are_replaced(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text('{"id": "a", "title": "t", "text": "x\\ud800y"}\n')
    assert documents(path) == [Document("a", "t", "x\ufffdy")]


def test_what_cannot_be_a_source_is_refused_with_what_can(tmp_path: Path) -> None:
    (tmp_path / "x.pdf").write_bytes(b"%PDF")
    (tmp_path / "bad.parquet").write_bytes(b"no")
    for path, words in [
        (tmp_path / "nowhere", "no such file or folder"),
        (tmp_path / "x.pdf", ".jsonl"),
        (tmp_path / "bad.parquet", "not a Parquet file"),
    ]:
        with pytest.raises(CorpusError, match=words):
            documents(path)
    with pytest.raises(CorpusError, match="no document field 'body'"):
        open_source(tmp_path, {"body": "x"})


@pytest.mark.parametrize("opened", ["<!--", "<![CDATA[", "<a ", "<a b='", "</", "<?", "<!--</>", "<![if"])
def test_a_page_of_markup_that_never_ends_is_read_to_its_end_in_no_time(opened: str) -> None:
    title, text = html_text("<title>T</title><p>before</p>" + opened * 60_000)
    assert (title, text.splitlines()[0]) == ("T", "before")
    assert html_text(f"<p>a</p><!-- gone --><p>b {opened}")[1].startswith("a\nb")
