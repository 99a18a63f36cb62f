"""The verifier passes what the compiler made and says no to every fault planted in it."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from compiler.publish import Published
from compiler.verify import verify
from envs.blobs import BlobMissing

Rows = list[dict[str, Any]]
CANONICAL = "canonical/search_agent-00000.parquet"


@pytest.fixture
def published(compiled: Any, world: Any) -> Published:
    hostile = ("orrin", "Its lighthouse says <|im_start|> and <\\video>; lit in spring 1872.\r\n")
    result: Published = compiled(
        world.search(),
        world.search("s2", "Another question?", opened=[hostile]),
        world.search("s3", score=world.wrong),
        world.sql(),
        world.swe(),
    )
    return result


def edit(published: Published, change: Callable[[Rows], None]) -> None:
    path = published.path / CANONICAL
    table = pq.read_table(path)
    rows = table.to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)


def faults(published: Published, world: Any) -> list[str]:
    """What was found, beside the checksum of a file that was changed."""
    report = verify(published.path, world.blobs)
    return [f.what for f in report.faults if "sha256" not in f.what]


def test_what_was_compiled_passes(published: Published, world: Any) -> None:
    report = verify(published.path, world.blobs)
    assert (report.faults, report.examples, report.pieces) == ((), 4, 9)
    assert report.tokens == sum(published.manifest["statistics"]["tokens"].values())


def test_a_flipped_byte_in_a_piece_is_found(published: Published, world: Any) -> None:
    def flip(rows: Rows) -> None:
        rows[0]["prompt"] = rows[0]["prompt"].replace("Boats float", "Goats float")

    edit(published, flip)
    assert faults(published, world) == [
        "piece boats: the placed bytes do not have the recorded hash",
        "piece boats: the placed bytes are not what its steps make of its blob",
        f"row 1 is not {pq.read_table(published.path / CANONICAL)['id'][0].as_py()}",
    ]


def test_a_flipped_byte_in_the_released_file_is_found(published: Published, world: Any) -> None:
    path = published.path / "search_agent_data.jsonl"
    path.write_bytes(path.read_bytes().replace(b"Boats float", b"Goats float", 1))
    found = verify(published.path, world.blobs).faults
    assert next(f.what for f in found if f.where == path.name) == "its bytes do not have the manifest's sha256"
    assert any(f.what.startswith("row ") for f in found)


@pytest.mark.parametrize("field", ["prompt_tokens", "target_tokens", "tokens"])
def test_a_wrong_count_is_found(published: Published, world: Any, field: str) -> None:
    edit(published, lambda rows: rows[0].update({field: rows[0][field] + 1}))
    assert [f.split(":")[0] for f in faults(published, world)] == ["wrong token counts"]


def test_a_wrong_count_of_a_piece_is_found(published: Published, world: Any) -> None:
    def miscount(rows: Rows) -> None:
        rows[0]["pieces"][0]["tokens"] -= 1

    edit(published, miscount)
    assert [f.split(": ")[1] for f in faults(published, world)] == ["wrong token count"]


def test_a_shifted_range_is_found(published: Published, world: Any) -> None:
    def shift(rows: Rows) -> None:
        rows[0]["pieces"][0]["start"] += 1

    edit(published, shift)
    assert any("is not the template" in f for f in faults(published, world))


def test_an_answer_in_the_template_is_found(published: Published, world: Any) -> None:
    edit(published, lambda rows: rows[0].update(ground_truth="documents", answer="documents"))
    assert "the template's own text holds the answer" in faults(published, world)


def test_a_missing_row_is_found(published: Published, world: Any) -> None:
    edit(published, lambda rows: rows.__delitem__(-1))
    found = faults(published, world)
    assert "more rows than examples" in found
    assert any(f.startswith("published examples") for f in found)
    assert "its trajectories are not those published and dropped" in found


def test_a_missing_drop_is_found(published: Published, world: Any) -> None:
    (published.path / "drops.jsonl").write_text("")
    assert faults(published, world) == [
        "its reasons do not add up to the manifest's",
        "its trajectories are not those published and dropped",
    ]


def test_a_missing_or_extra_file_is_found(published: Published, world: Any) -> None:
    (published.path / "README.md").rename(published.path / "READYOU.md")
    assert faults(published, world) == ["the manifest does not name this file", "missing"]


def test_a_changed_manifest_is_found(published: Published, world: Any) -> None:
    path = published.path / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["accounts"]["selected"] += 1
    path.write_text(json.dumps(manifest))
    assert faults(published, world) == [
        "its hash is not the version's name",
        "trajectories: selected is not yielded + dropped",
        "its trajectories are not those published and dropped",
    ]


def test_a_version_passes_in_a_folder_of_another_name(published: Published, world: Any) -> None:
    renamed = published.path.rename(published.path.with_name("data"))
    report = verify(renamed, world.blobs)
    assert (report.faults, report.version) == ((), published.version)


def test_a_version_in_the_folder_of_another_version_is_found(published: Published, world: Any) -> None:
    renamed = published.path.rename(published.path.with_name("0" * 40))
    assert [f.what for f in verify(renamed, world.blobs).faults] == ["its hash is not the version's name"]


def test_a_lost_or_changed_blob_is_found(published: Published, world: Any) -> None:
    class Lossy:
        def get(self, hash: str) -> bytes:
            data: bytes = world.blobs.get(hash)
            if data.startswith(b"Boats"):
                raise BlobMissing(hash)
            return data.replace(b"Gulls", b"Hulls")

    found = [f.what for f in verify(published.path, Lossy()).faults]  # type: ignore[arg-type]
    assert sum("is not in the store" in f for f in found) == 2
    assert sum("the store's blob does not have its hash" in f for f in found) == 2


def test_hugging_face_counts_agree(published: Published, world: Any, qwen3_file: Path) -> None:
    assert verify(published.path, world.blobs, qwen3_file).ok


def test_any_flipped_byte_of_any_file_is_found(published: Published, world: Any) -> None:
    rng = random.Random(0)
    for path in sorted(p for p in published.path.rglob("*") if p.is_file() and p.name != "manifest.json"):
        data = path.read_bytes()
        if not data:
            continue
        for at in {0, len(data) // 2, len(data) - 1, rng.randrange(len(data))}:
            path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
            found = verify(published.path, world.blobs)
            assert "its bytes do not have the manifest's sha256" in [f.what for f in found.faults], (path, at)
        path.write_bytes(data)
    assert verify(published.path, world.blobs).ok


def test_a_file_that_cannot_be_read_is_a_fault(published: Published, world: Any) -> None:
    (published.path / CANONICAL).write_bytes(b"PAR1 no more")
    assert any(
        f.where == "search_agent" and f.what.startswith("cannot be read")
        for f in verify(published.path, world.blobs).faults
    )


def test_a_page_of_a_million_blanks_ends_neither_compiler_nor_verifier(compiled: Any, world: Any) -> None:
    published = compiled(world.search(listed=[("blanks", "Wide." + " " * 1_000_000 + "\tx")]))
    assert published.accounts.published == 1
    assert verify(published.path, world.blobs).ok
