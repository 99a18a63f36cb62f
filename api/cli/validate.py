"""Every fault of a task file, not only the first."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from api.cli.site import local_site
from api.jsonl import Line
from api.problems import Problem
from api.settings import Settings
from api.task_lines import read_tasks, seen_ids
from envs.environment import Environment
from envs.registry import create


@dataclass(frozen=True)
class FileFault:
    file: str
    line: int
    field: str
    words: str


@dataclass(frozen=True)
class Checked:
    tasks: int
    """Valid ones."""
    faults: tuple[FileFault, ...]


def check_file(path: Path, settings: Settings) -> Checked:
    @cache
    def environment(name: str) -> Environment:
        return create(name, local_site(settings, name))

    tasks, faults = 0, []
    with seen_ids() as first_of:
        for line in lines_of(path):
            if len(line.data) > settings.max_task_bytes:
                words = f"longer than {settings.max_task_bytes} bytes (TRAJC_MAX_TASK_BYTES)"
                faults.append(FileFault(str(path), line.number, "", words))
                continue
            try:
                (row,) = read_tasks([line], environment)
            except Problem as e:
                faults.append(FileFault(str(path), line.number, e.extra["field"], e.extra["words"]))
                continue
            if (first := first_of(row.task.id, line.number)) != line.number:
                words = f"{row.task.id!r} is the id of line {first} too"
                faults.append(FileFault(str(path), line.number, "id", words))
                continue
            tasks += 1
    return Checked(tasks, tuple(faults))


def lines_of(path: Path) -> Iterator[Line]:
    with path.open("rb") as lines:
        yield from (Line(number, data) for number, data in enumerate(lines, 1) if data.strip())
