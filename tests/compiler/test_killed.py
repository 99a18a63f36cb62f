"""A compiler that is killed at any point leaves no version, or the right one."""

import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest

from compiler.compilation import compile_dataset
from compiler.recipe import Recipe
from envs.blobs import Blob, MemoryBlobs

POINTS = 20


class Deadly:
    """A store that ends the process, without any clean-up, at its n-th read; renames count as reads."""

    def __init__(self, blobs: MemoryBlobs, reads: int):
        self._blobs = blobs
        self._left = reads

    def get(self, hash: str) -> bytes:
        self.step()
        return self._blobs.get(hash)

    def step(self) -> None:
        self._left -= 1
        if self._left == 0:
            os._exit(9)

    def put(self, data: bytes, media_type: str = "text/plain", encoding: str | None = "utf-8") -> Blob:
        return self._blobs.put(data, media_type, encoding)

    def has(self, hash: str) -> bool:
        return self._blobs.has(hash)


def _compile(rows: list[Any], blobs: MemoryBlobs, datasets: Path, reads: int) -> None:
    deadly = Deadly(blobs, reads)
    rename = os.rename

    def deadly_rename(*paths: Any) -> None:
        deadly.step()
        rename(*paths)
        deadly.step()

    os.rename = deadly_rename  # type: ignore[assignment]
    compile_dataset(Recipe(formats=("messages",)), rows, deadly, datasets, "demo")
    os._exit(0)


def versions(datasets: Path) -> dict[str, dict[str, bytes]]:
    visible = [v for v in (datasets / "demo").iterdir() if not v.name.startswith(".")]
    return {v.name: {p.relative_to(v).as_posix(): p.read_bytes() for p in v.rglob("*") if p.is_file()} for v in visible}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_killed_at_twenty_points(world: Any, tmp_path: Path) -> None:
    listed = [(f"d{n}", f"Page {n} of many.") for n in range(3)]
    rows = [world.search(f"s{n}", f"Question {n} about something?", listed=listed) for n in range(4)] + [world.sql()]
    compile_dataset(Recipe(formats=("messages",)), rows, world.blobs, tmp_path / "whole", "demo")
    whole = versions(tmp_path / "whole")
    assert len(whole) == 1

    context = multiprocessing.get_context("fork")
    codes = []
    for point in range(1, POINTS + 1):
        datasets = tmp_path / f"killed-{point}"
        process = context.Process(target=_compile, args=(rows, world.blobs, datasets, point))
        process.start()
        process.join(300)
        codes.append(process.exitcode)
        assert versions(datasets) in ({}, whole)
        compile_dataset(Recipe(formats=("messages",)), rows, world.blobs, datasets, "demo")
        assert versions(datasets) == whole
        assert [v.name for v in (datasets / "demo").iterdir()] == list(whole)
    assert codes.count(9) >= POINTS / 2
