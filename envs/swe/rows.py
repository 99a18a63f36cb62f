"""Rows of SWE-bench and SWE-smith as tasks.

Both name a repository, a patch, an issue and test ids. SWE-bench's `patch` mends and `test_patch` brings the hidden
tests; SWE-smith's `patch` breaks a healthy repository, and mending is taking it back. The files come from a local
clone at `base_commit`, or from the image that belongs to the row.
"""

import asyncio
import io
import tarfile
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import aiodocker
import orjson

from envs.blobs import BlobStore
from envs.errors import TaskError
from envs.swe.difficulty import difficulty_of
from envs.swe.engine.container import remove
from envs.swe.engine.words import engine_words
from envs.swe.git import git, git_words
from envs.swe.gitdir import File
from envs.swe.make.folder import reverse_diff
from envs.swe.make.suite import PYTEST, belongs_to_tests
from envs.swe.patch import touched
from envs.swe.tree import files_of_folder, media, safe_path, store_tree
from envs.swe.world import SweReference, SweWorld
from envs.task import Limits, Reference, Task


def task_of_row(
    row: Mapping[str, Any],
    files: Mapping[str, File],
    blobs: BlobStore,
    *,
    image: str | None = None,
    workdir: str = "/testbed",
    command: str = PYTEST,
    targets: Sequence[str] = (),
    limits: Limits | None = None,
    split: str = "train",
) -> tuple[Task, Reference]:
    """`files` is the repository at the row's base; `targets` as `SweReference.test_targets`. Raises `TaskError` naming
    the row and the field."""
    name = str(row.get("instance_id") or "row without instance_id")
    repository, issue, patch = (_text(row, name, key) for key in ("repo", "problem_statement", "patch"))
    failing = _ids(row, name, "FAIL_TO_PASS")
    if not failing:
        raise TaskError(f"{name}: FAIL_TO_PASS names no test")
    tests = str(row.get("test_patch") or "")
    if "test_patch" in row:
        broken, gold = dict(files), patch
        healthy = patched(files, patch, f"{name}: patch")
        hidden = patched(files, tests, f"{name}: test_patch")
        paths = [path for path in touched(tests) if path in hidden]
    else:
        healthy = dict(files)
        broken = patched(files, patch, f"{name}: patch")
        gold = reverse_diff(files, broken)
        hidden = dict(files)
        told = {id.partition("::")[0] for id in failing}
        broken = {path: file for path, file in broken.items() if path not in told}
        healthy = {path: file for path, file in healthy.items() if path not in told}
        paths = [path for path in files if path in told or belongs_to_tests(path)]
    reference = SweReference(
        gold_patch=gold,
        hidden_tests={path: blobs.put(hidden[path].data, *media(hidden[path].data)).hash for path in paths},
        fail_to_pass=failing,
        pass_to_pass=_ids(row, name, "PASS_TO_PASS"),
        test_command=command,
        test_targets=tuple(targets),
        test_seconds=1800,
    )
    world = SweWorld(
        repository=repository,
        tree=store_tree(broken, blobs),
        image=image or row.get("image_name") or None,
        workdir=workdir,
        difficulty=difficulty_of(broken, healthy, failing),
    )
    task = Task(
        id=name,
        environment="swe",
        question=issue,
        world=world.model_dump(mode="json"),
        split=split,
        group=repository,
        limits=limits or Limits(),
    )
    return task, Reference(data=reference.model_dump(mode="json"))


def row_faults(row: Mapping[str, Any]) -> list[str]:
    """Everything that a row lacks or has wrong, by field, before its files are looked for."""
    name = str(row.get("instance_id") or "")
    faults = [] if name else ["instance_id is missing or empty"]
    texts = ("repo", "problem_statement", "patch", *(("test_patch",) if "test_patch" in row else ()))
    checks: list[Callable[[], object]] = [partial(_text, row, name, key) for key in texts]
    checks += [partial(_ids, row, name, key) for key in ("FAIL_TO_PASS", "PASS_TO_PASS")]
    for check in checks:
        try:
            check()
        except TaskError as e:
            faults.append(str(e).removeprefix(f"{name}: "))
    if "FAIL_TO_PASS" not in row:
        faults.append("FAIL_TO_PASS is missing or empty")
    elif row["FAIL_TO_PASS"] in ([], "[]", "", None):
        faults.append("FAIL_TO_PASS names no test")
    return faults


def files_of_commit(clone: Path, commit: str) -> dict[str, File]:
    """A commit's files from a local clone, as they were committed: its `.gitattributes` leave none out and change none.
    Raises `TaskError` with git's words."""
    done = git(clone, "ls-tree", "-r", "-z", "--full-tree", "--end-of-options", commit)
    if done.returncode:
        raise TaskError(f"{clone} has no commit {commit}: {git_words(done)}")
    kept: list[tuple[str, bytes, str]] = []
    for head, _, tail in (entry.partition(b"\t") for entry in done.stdout.split(b"\0") if entry):
        mode, kind, id = head.split()
        path = tail.decode("utf-8", "surrogateescape")
        if kind == b"blob" and safe_path(path) and "__pycache__" not in path.split("/"):
            kept.append((mode.decode(), id, path))
    told = git(clone, "cat-file", "--batch", stdin=b"".join(id + b"\n" for _, id, _ in kept))
    out, files = io.BytesIO(told.stdout), dict[str, File]()
    for bits, _, path in kept:
        words = out.readline().split()
        if len(words) != 3:
            raise TaskError(f"{clone} lacks the bytes of {path} at {commit}: {git_words(told) or 'fetch them'}")
        data = out.read(int(words[2]))
        out.read(1)
        files[path] = File(data, "100755" if bits == "100755" else "120000" if bits == "120000" else "100644")
    return files


async def files_of_image(client: aiodocker.Docker, image: str, workdir: str = "/testbed") -> dict[str, File]:
    """What an image holds in `workdir`: the files under version control, or all where there is none. Raises
    `SandboxError`."""
    with engine_words(f"reading {workdir} of {image}"):
        container = await client.containers.create({"Image": image, "Cmd": ["true"]})
        try:
            tar = await container.get_archive(workdir)
        finally:
            await remove(container)
    top = workdir.rstrip("/").rpartition("/")[2]
    return await asyncio.to_thread(_tracked_files, tar, f"{top}/")


def _tracked_files(tar: tarfile.TarFile, top: str) -> dict[str, File]:
    files = _tar_files(tar, top)
    try:
        index = tar.extractfile(f"{top}.git/index")
    except KeyError:
        index = None
    if index is None:
        return files
    with tempfile.TemporaryDirectory(prefix="trajc-index-") as name:
        folder = Path(name)
        git(folder, "init", "--quiet")
        (folder / ".git" / "index").write_bytes(index.read())
        done = git(folder, "ls-files", "-z")
    if done.returncode:
        raise TaskError(f"the image's git index cannot be read: {git_words(done)}")
    tracked = set(done.stdout.decode("utf-8", "surrogateescape").split("\0"))
    return {path: file for path, file in files.items() if path in tracked}


def patched(files: Mapping[str, File], patch: str, what: str) -> dict[str, File]:
    """The files after a patch, applied by git in a folder of its own. Raises `TaskError`."""
    if not patch.strip():
        return dict(files)
    names = [path for path in touched(patch) if safe_path(path)]
    with tempfile.TemporaryDirectory(prefix="trajc-patch-") as name:
        folder = Path(name)
        for path in names:
            if path in files and files[path].mode != "120000":
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_bytes(files[path].data)
                (folder / path).chmod(0o755 if files[path].mode == "100755" else 0o644)
        git(folder, "init", "--quiet")
        text = patch if patch.endswith("\n") else patch + "\n"
        done = git(folder, "apply", "-p1", "--whitespace=nowarn", "-", stdin=text.encode("utf-8", "surrogateescape"))
        if done.returncode:
            raise TaskError(f"{what} does not apply: {git_words(done)}")
        after = files_of_folder(folder)
    kept = {path: file for path, file in files.items() if path not in names or file.mode == "120000"}
    return {**kept, **after}


def _tar_files(tar: tarfile.TarFile, top: str) -> dict[str, File]:
    files: dict[str, File] = {}
    for member in tar:
        path = member.name.removeprefix("./").removeprefix(top)
        if not safe_path(path) or "__pycache__" in path.split("/"):
            continue
        if member.issym():
            files[path] = File(member.linkname.encode("utf-8", "surrogateescape"), "120000")
        elif (handle := tar.extractfile(member) if member.isreg() else None) is not None:
            files[path] = File(handle.read(), "100755" if member.mode & 0o100 else "100644")
    return files


def _text(row: Mapping[str, Any], name: str, key: str) -> str:
    value = row.get(key)
    if not isinstance(value, str) or not value.strip():
        raise TaskError(f"{name}: {key} is missing or empty")
    return value


def _ids(row: Mapping[str, Any], name: str, key: str) -> tuple[str, ...]:
    """A list, or a list written as JSON text, as SWE-bench does."""
    value = row.get(key) or []
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError as e:
            raise TaskError(f"{name}: {key} is no JSON list: {e}") from None
    if not isinstance(value, list | tuple) or not all(isinstance(id, str) and id.strip() for id in value):
        raise TaskError(f"{name}: {key} is no list of test ids")
    return tuple(value)
