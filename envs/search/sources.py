"""Where a corpus is read from: JSONL, Parquet, a folder of page files, a Hugging Face dataset folder.

Owns finding the files, reading rows, and naming the file, line and field where something is wrong.
"""

import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from envs.search.document import CorpusError, Document, clean
from envs.search.pagetext import SUFFIXES, read_page

FIELDS = Document._fields
_REQUIRED = ("id", "title", "text")
_MAX_ID = 512
_ROW_BITS = 40
_ABOUT_A_DATASET = re.compile(r"README\.md|LICENSE.*|state\.json|dataset_\w+\.json", re.IGNORECASE)


@dataclass(frozen=True)
class Source:
    """A source's files, in the order of their paths.

    `columns` says which column of the source holds a field, where it is named differently: {"text": "contents"}.
    A `place` is one number for a file and a row of it.
    """

    root: Path
    files: tuple[Path, ...]
    columns: Mapping[str, str] = field(default_factory=dict)
    left_out: tuple[Path, ...] = ()
    """Files of a folder that are of no kind that is read, or pages beside rows."""

    def count(self) -> int:
        """Documents in it, counted without parsing them."""
        total = 0
        for path in self.files:
            with _sound(path):
                total += _format(path).count(path)
        return total

    def read(self) -> Iterator[tuple[int, Document]]:
        """(place, document). Raises `CorpusError` at the first row that is wrong."""
        wanted = tuple(self.columns.get(f, f) for f in FIELDS)
        for number, path in enumerate(self.files):
            base = number << _ROW_BITS
            for row, values in _sound_rows(path, self.root, wanted):
                yield base | row, self._document(values, path, row)

    def place(self, place: int) -> str:
        path, row = self.files[place >> _ROW_BITS], place & ((1 << _ROW_BITS) - 1)
        return _where(path, row)

    def _document(self, values: Mapping[str, Any], path: Path, row: int) -> Document:
        named = {f: values.get(self.columns.get(f, f)) for f in FIELDS} if self.columns else values
        get = named.get
        id, title, text = get("id"), get("title"), get("text")
        if type(id) is int:
            id = str(id)
        if type(id) is not str or type(title) is not str or type(text) is not str:
            raise self._wrong(dict(zip(_REQUIRED, (id, title, text), strict=True)), values, path, row)
        if not 0 < len(id) <= _MAX_ID or not id.isprintable() or id != id.strip():
            raise CorpusError(
                f"{_where(path, row)}: field {self.columns.get('id', 'id')!r} must be 1 to {_MAX_ID} printable "
                f"characters without spaces around them, not {id[:80]!r}"
            )
        url, source, licence = get("url"), get("source"), get("licence")
        if url is not None or source is not None or licence is not None:
            url, source, licence = (_optional(get(f), f, path, row) for f in FIELDS[3:])
        return Document(id, clean(title), clean(text), url, source, licence)

    def _wrong(self, found: Mapping[str, Any], values: Mapping[str, Any], path: Path, row: int) -> CorpusError:
        name, value = next((n, v) for n, v in found.items() if type(v) is not str)
        problem = "is missing" if value is None else f"must be text, not {type(value).__name__}"
        return CorpusError(
            f"{_where(path, row)}: field {self.columns.get(name, name)!r} {problem}; "
            f"the row has: {', '.join(map(str, values)) or 'nothing'}"
        )


def open_source(path: Path, columns: Mapping[str, str] | None = None) -> Source:
    """Raises `CorpusError` where nothing there can be read, naming what can."""
    columns = columns or {}
    for name in columns:
        if name not in FIELDS:
            raise CorpusError(f"no document field {name!r} to take a column for; fields: {', '.join(FIELDS)}")
    if path.is_file():
        if path.suffix.lower() not in SUFFIXES and not _is_rows(path):
            raise CorpusError(f"{path}: not a .jsonl, .jsonl.gz, .parquet, .arrow, .txt, .md or .html file")
        return Source(path.parent, (path,), columns)
    if not path.is_dir():
        raise CorpusError(f"{path}: no such file or folder")
    # A link that leads to no file counts: what is behind it is lacking, which is better told than left out.
    found_here = (p for p in path.rglob("*") if p.is_file() or p.is_symlink())
    files = sorted(p for p in found_here if not _passed_over(p.relative_to(path)))
    # A dataset folder holds a README.md and its rows side by side: where there are rows, only they are documents.
    found = [p for p in files if _is_rows(p)] or [p for p in files if p.suffix.lower() in SUFFIXES]
    if not found:
        raise CorpusError(f"{path}: holds no .jsonl, .parquet, .arrow, .txt, .md or .html file")
    left_out = [p for p in set(files).difference(found) if not _ABOUT_A_DATASET.fullmatch(p.name)]
    return Source(path, tuple(found), columns, tuple(sorted(left_out)))


def _passed_over(path: Path) -> bool:
    """Hidden files, and what the `datasets` library caches beside a saved data set."""
    cached = path.name.startswith("cache-") and path.suffix == ".arrow"
    return cached or any(part.startswith(".") for part in path.parts)


def _is_rows(path: Path) -> bool:
    return path.name.lower().endswith((".jsonl", ".jsonl.gz", ".ndjson", ".parquet", ".arrow"))


def _where(path: Path, row: int) -> str:
    """A page file is one row, number 0, and is named whole."""
    return f"{path.name} {_format(path).unit} {row}" if row else str(path)


def _optional(value: Any, name: str, path: Path, row: int) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise CorpusError(f"{_where(path, row)}: field {name!r} must be text, not {type(value).__name__}")
    return clean(value)


Rows = Iterator[tuple[int, Mapping[str, Any]]]


@dataclass(frozen=True)
class _Format:
    unit: str
    count: Callable[[Path], int]
    rows: Callable[[Path, Path, tuple[str, ...]], Rows]
    """(file, the source's root, the columns of `FIELDS`)."""


def _format(path: Path) -> _Format:
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return _PARQUET
    if suffix == ".arrow":
        return _ARROW
    return _PAGE if suffix in SUFFIXES else _JSONL


@contextmanager
def _sound(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, EOFError, zlib.error, UnicodeDecodeError) as e:
        raise CorpusError(f"{path}: damaged, or not what its name says: {e}") from None


def _sound_rows(path: Path, root: Path, wanted: tuple[str, ...]) -> Rows:
    with _sound(path):
        yield from _format(path).rows(path, root, wanted)


def _open_lines(path: Path) -> IO[bytes]:
    return gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb")  # type: ignore[return-value]


def _count_lines(path: Path) -> int:
    with _open_lines(path) as lines:
        return sum(1 for line in lines if not line.isspace())


def _jsonl_rows(path: Path, _root: Path, _wanted: tuple[str, ...]) -> Rows:
    with _open_lines(path) as lines:
        for number, line in enumerate(lines, 1):
            if line.isspace():
                continue
            row = _parse_line(line, path, number)
            if type(row) is not dict:
                raise CorpusError(f"{path.name} line {number}: must be a JSON object, not {type(row).__name__}")
            yield number, row


def _parse_line(line: bytes, path: Path, number: int) -> Any:
    try:
        return orjson.loads(line)
    except ValueError as strict:
        try:
            return json.loads(line)  # takes the lone surrogates that orjson refuses; they are cleaned later
        except (ValueError, RecursionError):
            raise CorpusError(f"{path.name} line {number}: not JSON: {strict}") from None


def _batches(batches: Iterator[pa.RecordBatch]) -> Rows:
    number = 0
    for batch in batches:
        for row in batch.to_pylist():
            number += 1
            yield number, row


def _of_use(names: Sequence[str], wanted: tuple[str, ...]) -> list[str]:
    """The columns to read: no others, which may be large or hold what Python has no value for. All where one is
    lacking, so that the error can name them."""
    lacking = set(wanted[: len(_REQUIRED)]).difference(names)
    return [name for name in names if lacking or name in wanted]


def _parquet_rows(path: Path, _root: Path, wanted: tuple[str, ...]) -> Rows:
    try:
        with pq.ParquetFile(path) as file:
            columns = _of_use(file.schema_arrow.names, wanted)
            yield from _batches(file.iter_batches(batch_size=4096, columns=columns))
    except pa.ArrowInvalid as e:
        raise CorpusError(f"{path.name}: not a Parquet file: {e}") from None


def _parquet_count(path: Path) -> int:
    try:
        return int(pq.read_metadata(path).num_rows)
    except pa.ArrowInvalid as e:
        raise CorpusError(f"{path.name}: not a Parquet file: {e}") from None


def _arrow_rows(path: Path, _root: Path, wanted: tuple[str, ...]) -> Rows:
    try:
        with pa.memory_map(str(path)) as file, pa.ipc.open_stream(file) as stream:
            columns = _of_use(stream.schema.names, wanted)
            yield from _batches(batch.select(columns) for batch in stream)
    except pa.ArrowInvalid as e:
        raise CorpusError(f"{path.name}: not an Arrow stream as `save_to_disk` writes it: {e}") from None


def _arrow_count(path: Path) -> int:
    try:
        with pa.memory_map(str(path)) as file, pa.ipc.open_stream(file) as stream:
            return sum(batch.num_rows for batch in stream)
    except pa.ArrowInvalid as e:
        raise CorpusError(f"{path.name}: not an Arrow stream as `save_to_disk` writes it: {e}") from None


def _page_rows(path: Path, root: Path, _wanted: tuple[str, ...]) -> Rows:
    title, text = read_page(path)
    yield 0, {"id": path.relative_to(root).as_posix(), "title": title, "text": text}


_JSONL = _Format("line", _count_lines, _jsonl_rows)
_PARQUET = _Format("row", _parquet_count, _parquet_rows)
_ARROW = _Format("row", _arrow_count, _arrow_rows)
_PAGE = _Format("file", lambda _path: 1, _page_rows)
