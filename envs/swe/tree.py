"""Base trees: from a folder or files into blobs, and from blobs into what a sandbox is started with."""

import io
import os
import stat
import tarfile
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath

from pydantic import ValidationError

from envs.blobs import BlobMissing, BlobStore
from envs.errors import TaskError
from envs.frozen import canonical_json
from envs.swe.gitdir import BASE_REPOSITORY, File, agent_repository, base_repository
from envs.swe.world import Tree, TreeFile

TREE_MEDIA_TYPE = "application/vnd.trajc.tree+json"
OTHER_ID = 1000
"""Whose files root cannot write in a sandbox, where it has no capability."""
LONG_AGO = 946684800
"""Every file's time, so that the same tree always looks the same."""
IGNORED = frozenset((".git", ".hg", ".svn", "__pycache__", ".pytest_cache", ".mypy_cache", ".tox", ".venv"))


def files_of_folder(folder: Path) -> dict[str, File]:
    """Every file and symbolic link below a folder, without caches and version control. Nothing is followed."""
    found: dict[str, File] = {}
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(n for n in folders if n not in IGNORED)
        here = Path(parent)
        for name in sorted([*names, *(n for n in folders if (here / n).is_symlink())]):
            path = here / name
            mode = path.lstat().st_mode
            key = path.relative_to(folder).as_posix()
            if stat.S_ISLNK(mode):
                found[key] = File(os.readlink(path).encode(), "120000")
            elif stat.S_ISREG(mode) and not name.endswith(".pyc"):
                found[key] = File(path.read_bytes(), "100755" if mode & 0o100 else "100644")
    return found


def store_tree(files: Mapping[str, File], blobs: BlobStore) -> str:
    """Every file and then the tree itself into the store; returns the tree's hash."""
    entries = {}
    for path, file in sorted(files.items()):
        blob = blobs.put(file.data, *media(file.data))
        entries[path] = TreeFile(blob=blob.hash, size=blob.size, mode=file.mode)
    return blobs.put(canonical_json(Tree(files=entries)), TREE_MEDIA_TYPE).hash


def load_tree(hash: str, blobs: BlobStore) -> Tree:
    """Raises `TaskError` where the blob is missing, is no tree, or names a path outside of the repository."""
    try:
        tree = Tree.model_validate_json(blobs.get(hash))
    except BlobMissing:
        raise TaskError(f"world.tree: no blob {hash} is stored; put the task's blobs in place first") from None
    except ValidationError as e:
        raise TaskError(f"world.tree: the blob {hash} is no tree: {e.errors()[0]['msg']}") from None
    for path in tree.files:
        if not safe_path(path):
            raise TaskError(f"world.tree: {path!r} is no path inside of the repository")
    refuse_below(tree.files, tree.files)
    return tree


def load_files(tree: Tree, blobs: BlobStore) -> dict[str, File]:
    """Raises `TaskError` naming the path whose bytes are missing."""
    files = {}
    for path, entry in tree.files.items():
        try:
            files[path] = File(blobs.get(entry.blob), entry.mode)
        except BlobMissing:
            raise TaskError(f"world.tree: the bytes of {path} (blob {entry.blob}) are not stored") from None
    return files


def laid_over(hidden: Mapping[str, str], files: Mapping[str, File], blobs: BlobStore) -> dict[str, File]:
    """Path -> blob as files; one that the tree has as well is of the tree's kind: a program, or a link. Raises
    `BlobMissing`."""
    return {
        path: File(blobs.get(blob), files[path].mode if path in files else "100644") for path, blob in hidden.items()
    }


def safe_path(path: str) -> bool:
    """Whether a path names something inside of a repository and outside of its version control, in one way only."""
    pure = PurePosixPath(path)
    parts = pure.parts
    inside = bool(parts) and not pure.is_absolute() and ".." not in parts and parts[0] != ".git"
    return inside and str(pure) == path and "\0" not in path


def refuse_below(those: Collection[str], paths: Collection[str]) -> None:
    """Raises `TaskError` where a path lies below one of `those`, links above all: it would be written to wherever
    the link leads."""
    for path in paths:
        at = path.rfind("/")
        while at > 0:
            if path[:at] in those:
                raise TaskError(f"world.tree: {path} lies below {path[:at]}, which is no folder")
            at = path.rfind("/", 0, at)


def media(data: bytes) -> tuple[str, str | None]:
    """Media type and encoding of a file's bytes."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return "application/octet-stream", None
    return "text/plain", "utf-8"


def seed(
    files: Mapping[str, File],
    workdir: str,
    user_id: int,
    over: Mapping[str, File] | None = None,
    locked: Collection[str] = (),
) -> bytes:
    """A tar archive to unpack at /: the repository in `workdir` as one commit without history, and root's own copy
    of that commit, which patches are measured against. `over` replaces or adds files after the commit. `locked` files
    belong to somebody else, in folders where others may add files and not take these away. Raises `TaskError`.
    """
    everything = {**files, **(over or {})}
    refuse_below({path for path, file in everything.items() if file.mode == "120000"}, everything)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        writer = _Writer(tar)
        base = BASE_REPOSITORY.lstrip("/")
        for path, data in base_repository(files).items():
            writer.add(f"{base}/{path}", File(data, "100644"), 0)
        top = workdir.strip("/")
        other = 0 if user_id else OTHER_ID
        for path in sorted(locked):
            writer.sticky(f"{top}/{path}", top, other)
        writer.folder(top, user_id)
        for path, data in agent_repository(files).items():
            writer.add(f"{top}/.git/{path}", File(data, "100644"), user_id)
        for path, file in everything.items():
            writer.add(f"{top}/{path}", file, other if path in locked else user_id)
    return out.getvalue()


class _Writer:
    """Adds files and the folders that they need, each folder once."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self._folders: set[str] = set()

    def folder(self, path: str, user_id: int, mode: int = 0o755) -> None:
        if path in self._folders or not path:
            return
        self._folders.add(path)
        member = tarfile.TarInfo(path)
        member.type, member.mode = tarfile.DIRTYPE, mode
        member.uid = member.gid = user_id
        member.mtime = LONG_AGO
        self._tar.addfile(member)

    def sticky(self, path: str, top: str, user_id: int) -> None:
        """The folders from `top` to a file, and one for compiled code, which would be taken in the file's place."""
        above = PurePosixPath(path).parent
        for folder in reversed([above, *above.parents]):
            if folder.is_relative_to(top):
                self.folder(str(folder), user_id, 0o1777)
        self.folder(f"{above}/__pycache__", user_id)

    def add(self, path: str, file: File, user_id: int) -> None:
        parts = path.split("/")
        for depth in range(1, len(parts)):
            above = "/".join(parts[:depth])
            if depth > 1 or above not in ("var", "opt", "usr", "home"):
                self.folder(above, user_id)
        member = tarfile.TarInfo(path)
        member.uid = member.gid = user_id
        member.mtime = LONG_AGO
        if file.mode == "120000":
            member.type, member.linkname = tarfile.SYMTYPE, file.data.decode("utf-8", "surrogateescape")
            self._tar.addfile(member)
        else:
            member.mode = 0o755 if file.mode == "100755" else 0o644
            member.size = len(file.data)
            self._tar.addfile(member, io.BytesIO(file.data))
