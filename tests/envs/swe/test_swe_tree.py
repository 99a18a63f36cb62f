"""Trees, and the repository without history that a sandbox is started with; git itself is the judge."""

import io
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from envs.blobs import MemoryBlobs
from envs.errors import TaskError
from envs.swe.gitdir import File, agent_repository, base_repository
from envs.swe.tree import files_of_folder, load_files, load_tree, safe_path, seed, store_tree

FILES = {
    "a.py": File(b"print(1)\n"),
    "run.sh": File(b"#!/bin/sh\n", "100755"),
    "link": File(b"a.py", "120000"),
    "a/b.txt": File(b""),
    "a-c/d": File(b"\0\1" * 5000),
    "a.b/caf\u00e9 x": File("\u00e9".encode()),
    "deep/er/and/deeper": File(os.urandom(300)),
    **{f"many/{n}": File(str(n).encode()) for n in range(300)},
}


def test_a_folder_is_read_as_it_is_and_nothing_is_followed(tmp_path: Path) -> None:
    (tmp_path / "pkg/__pycache__").mkdir(parents=True)
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git/HEAD").write_text("ref")
    (tmp_path / "pkg/__pycache__/x.pyc").write_bytes(b"x")
    (tmp_path / "pkg/a.py").write_text("a")
    (tmp_path / "run").write_text("x")
    (tmp_path / "run").chmod(0o755)
    (tmp_path / "out").symlink_to("/etc")
    assert files_of_folder(tmp_path) == {
        "pkg/a.py": File(b"a"),
        "run": File(b"x", "100755"),
        "out": File(b"/etc", "120000"),
    }


def test_a_tree_comes_back_as_it_was_stored() -> None:
    blobs = MemoryBlobs()
    hash = store_tree(FILES, blobs)
    assert load_files(load_tree(hash, blobs), blobs) == FILES
    assert store_tree(dict(reversed(FILES.items())), blobs) == hash


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_git_finds_nothing_wrong_with_what_we_wrote(tmp_path: Path) -> None:
    base, work = tmp_path / "base.git", tmp_path / "work"
    for path, data in base_repository(FILES).items():
        (base / path).parent.mkdir(parents=True, exist_ok=True)
        (base / path).write_bytes(data)

    def git(*words: str) -> str:
        env = {**os.environ, "GIT_DIR": str(base), "GIT_WORK_TREE": str(work), "GIT_CONFIG_GLOBAL": "/dev/null"}
        return subprocess.run(["git", *words], env=env, cwd=work, capture_output=True, text=True, check=True).stdout

    work.mkdir()
    git("checkout", "-f", "main", "--", ".")
    assert files_of_folder(work) == FILES
    assert git("fsck", "--strict", "--full") == ""
    assert git("status", "--short") == ""
    assert git("rev-list", "--all", "--count") == "1\n"
    (work / "a.py").write_text("print(2)\n")
    assert git("diff", "--stat").startswith(" a.py | 2 +-")


def test_the_same_files_give_the_same_bytes() -> None:
    assert seed(FILES, "/testbed", 1000) == seed(dict(FILES), "/testbed", 1000)


def test_the_agents_repository_holds_no_objects_of_its_own() -> None:
    assert [p for p in agent_repository(FILES) if p.startswith("objects/")] == ["objects/info/alternates"]


def test_what_is_put_over_the_tree_is_not_in_the_commit() -> None:
    archive = seed({"a.py": File(b"a")}, "/work/bed", 7, {"tests/t.py": File(b"secret")})
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        owners = {m.name: m.uid for m in tar if m.isreg()}
    assert owners["work/bed/tests/t.py"] == owners["work/bed/a.py"] == 7
    assert {uid for name, uid in owners.items() if name.startswith("var/lib/trajc")} == {0}
    assert base_repository({"a.py": File(b"a")})["index"].count(b"tests/t.py") == 0


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", ".git/config", "", "a\0b", "./a", "a//b", "a/"])
def test_paths_outside_of_the_repository_are_known(path: str) -> None:
    assert not safe_path(path)


@pytest.mark.parametrize("path", ["a", "a/b", ".github/x", "a..b", "...", ".gitignore"])
def test_paths_inside_are_let_through(path: str) -> None:
    assert safe_path(path)


def test_no_file_is_written_through_a_link_of_its_own_tree(tmp_path: Path) -> None:
    links = {"a": File(str(tmp_path).encode(), "120000")}
    for files, over in (({**links, "a/b/c": File(b"")}, {}), (links, {"a/b/c": File(b"")})):
        with pytest.raises(TaskError, match="a/b/c lies below a, which is no folder"):
            seed(files, "/testbed", 1000, over)
    blobs = MemoryBlobs()
    with pytest.raises(TaskError, match="a/b lies below a, which is no folder"):
        load_tree(store_tree({"a/b": File(b""), "a": File(b"")}, blobs), blobs)
