"""A patch as tool calls, each with a second way for when the first is refused."""

import shlex
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import PurePosixPath

from api.oracle.moves import Call
from api.oracle.swe_patch import FileEdit, Hunk, file_edits


@dataclass(frozen=True)
class Edit:
    """`path` is absolute; `exists` says whether it is there before, `remains` whether it is there after."""

    path: str
    ways: tuple[Call, ...]
    exists: bool = True
    remains: bool = True


@lru_cache(maxsize=1024)
def edits_of(patch: str, workdir: str) -> tuple[Edit, ...]:
    return tuple(edit for file in file_edits(patch) for edit in _edits(file, workdir))


def in_copies(edits: tuple[Edit, ...]) -> tuple[Edit, ...]:
    """The same edits, each in a copy beside the file, made first."""
    out: list[Edit] = []
    for path in dict.fromkeys(edit.path for edit in edits):
        there = PurePosixPath(path)
        copy = str(there.with_name(f"{there.stem}_changed{there.suffix}"))
        mine = [edit for edit in edits if edit.path == path and edit.remains]
        if mine and mine[0].exists:
            out.append(Edit(copy, (_bash(f"cp {shlex.quote(path)} {shlex.quote(copy)}"),), exists=False))
        out += [replace(edit, path=copy, ways=tuple(_moved(way, path, copy) for way in edit.ways)) for edit in mine]
    return tuple(out)


def _edits(file: FileEdit, workdir: str) -> list[Edit]:
    before = f"{workdir}/{file.before}" if file.before else None
    after = f"{workdir}/{file.after}" if file.after else None
    if after is None:
        return [Edit(before, (_bash(f"rm {shlex.quote(before)}"),), remains=False)] if before else []
    if before is None:
        text = "".join(hunk.new for hunk in file.hunks)
        return [Edit(after, (_editor("create", after, file_text=text),), exists=False)]
    made = [Edit(before, _replacing(hunk, after)) for hunk in file.hunks]
    made = [replace(edit, path=after, exists=before == after) for edit in made]
    if before != after:
        move = (
            f"mkdir -p {shlex.quote(str(PurePosixPath(after).parent))} && mv {shlex.quote(before)} {shlex.quote(after)}"
        )
        made.insert(0, Edit(before, (_bash(move),), remains=False))
    return made


def _replacing(hunk: Hunk, path: str) -> tuple[Call, ...]:
    by_lines = _bash(_script(hunk, path))
    if not hunk.old.strip():
        return (by_lines,)
    return (_editor("str_replace", path, old_str=hunk.old, new_str=hunk.new), by_lines)


def _script(hunk: Hunk, path: str) -> str:
    """Replaces the hunk's lines by number: for text that stands more than once in the file."""
    start = hunk.new_start - 1 if hunk.old else hunk.new_start
    return (
        "python3 - <<'END_OF_EDIT'\n"
        "from pathlib import Path\n"
        f"path = Path({path!r})\n"
        "lines = path.read_bytes().decode('utf-8', 'surrogateescape').splitlines(keepends=True)\n"
        f"assert ''.join(lines[{start}:{start + hunk.old_lines}]) == {hunk.old!r}, 'other lines stand there'\n"
        f"lines[{start}:{start + hunk.old_lines}] = [{hunk.new!r}]\n"
        "path.write_bytes(''.join(lines).encode('utf-8', 'surrogateescape'))\n"
        "print('edit done')\n"
        "END_OF_EDIT"
    )


def _moved(way: Call, path: str, copy: str) -> Call:
    if not isinstance(way.arguments, dict):
        return way
    swap = {k: v.replace(path, copy) if k in ("path", "command") else v for k, v in way.arguments.items()}
    return Call(way.name, swap)


def _bash(command: str) -> Call:
    return Call("bash", {"command": command})


def _editor(command: str, path: str, **rest: str) -> Call:
    return Call("str_replace_editor", {"command": command, "path": path, **rest})
