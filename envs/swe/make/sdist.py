"""A package's source archive: downloaded by pip, unpacked with care, and read as a repository with its own tests."""

import asyncio
import re
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path, PurePosixPath

from envs.errors import TaskError
from envs.swe.gitdir import File
from envs.swe.make.suite import PYTEST, belongs_to_tests, is_test_file
from envs.swe.tree import IGNORED, safe_path

ARCHIVES = (".tar.gz", ".tgz", ".tar.bz2", ".zip")
LARGEST_FILE = 8 << 20
LARGEST_ARCHIVE = 64 << 20
NOT_SOURCE = frozenset(("docs", "doc", "examples", "example", "benchmarks", "benchmark", "scripts", "tools", "ci"))


@dataclass(frozen=True)
class Package:
    """A healthy repository and how its tests are run."""

    name: str
    version: str
    licence: str | None
    files: dict[str, File]
    command: str

    @property
    def tests(self) -> tuple[str, ...]:
        return tuple(sorted(path for path in self.files if is_test_file(path)))

    @property
    def sources(self) -> tuple[str, ...]:
        """Modules in which a bug may be planted."""
        return tuple(sorted(path for path in self.files if _is_source(path)))


async def download(name: str, folder: Path) -> Path:
    """The newest source archive of a package (or of `name==version`), fetched by pip into `folder`.

    pip asks the package for its name and version, which runs its build back end on this machine. Raises `TaskError`
    with pip's last words.
    """
    if not re.fullmatch(r"[A-Za-z0-9._-]+(==[A-Za-z0-9.]+)?", name):
        raise TaskError(f"{name!r} is no package name; write NAME or NAME==VERSION, or the path of an archive")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", ":all:", "--dest", str(folder)]
    process = await asyncio.create_subprocess_exec(
        *command,
        name,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    found = await asyncio.to_thread(_archives, folder)
    if process.returncode or not found:
        last = output.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise TaskError(f"pip could not fetch the source of {name}: {last}")
    return found[0]


def _archives(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.name.endswith(ARCHIVES))


async def package_of(archive_or_name: str) -> Package:
    """From the path of an archive, or a package's name. Raises `TaskError`."""
    if archive_or_name.endswith(ARCHIVES):
        return await asyncio.to_thread(read_archive, Path(archive_or_name))
    with tempfile.TemporaryDirectory(prefix="trajc-sdist-") as folder:
        archive = await download(archive_or_name, Path(folder))
        return await asyncio.to_thread(read_archive, archive)


def read_archive(path: Path) -> Package:
    """Regular files only, inside of the archive's one top folder. Raises `TaskError` where it is none, is too large,
    or holds no tests."""
    try:
        files = _zip_files(path) if path.suffix == ".zip" else _tar_files(path)
    except (tarfile.TarError, zipfile.BadZipFile, OSError) as e:
        raise TaskError(f"{path.name} cannot be read as an archive: {e}") from e
    tops = {PurePosixPath(name).parts[0] for name in files}
    if len(tops) == 1:
        files = {name.partition("/")[2]: file for name, file in files.items()}
    files = {name: file for name, file in files.items() if safe_path(name) and not _ignored(name)}
    about = HeaderParser().parsestr(_text(files.get("PKG-INFO")))
    name = about.get("Name") or path.name.partition("-")[0]
    version = about.get("Version") or "0"
    roots = _import_roots(files)
    prefix = "" if roots == ["."] else f"PYTHONPATH={':'.join(roots)} "
    root = "" if roots[0] == "." else f"{roots[0]}/"
    info = f"{root}{re.sub(r'[-_.]+', '_', name)}-{version}.dist-info/METADATA"
    if "PKG-INFO" in files and not any(".egg-info/PKG-INFO" in f for f in files):
        # So that the package finds its own version without being installed.
        files[info] = files["PKG-INFO"]
    licence = about.get("License-Expression") or about.get("License")
    package = Package(
        name=name,
        version=version,
        licence=licence if licence and "\n" not in licence else None,
        files=files,
        command=f"{prefix}{PYTEST} -o addopts= --continue-on-collection-errors",
    )
    if not package.tests:
        raise TaskError(f"{path.name} ships no tests; choose a package whose source archive has some")
    return package


def _import_roots(files: dict[str, File]) -> list[str]:
    """Folders that must be on Python's path: `src` or `lib` where packages lie there, else the root."""
    roots = [r for r in ("src", "lib") if any(f.startswith(f"{r}/") and f.endswith(".py") for f in files)]
    return [*roots, "."] if roots else ["."]


def _is_source(path: str) -> bool:
    parts = PurePosixPath(path).parts
    if not path.endswith(".py") or belongs_to_tests(path) or NOT_SOURCE.intersection(parts[:-1]):
        return False
    if parts[0] in ("src", "lib"):
        return len(parts) > 1
    return parts[-1] not in ("setup.py", "conftest.py", "noxfile.py", "tasks.py", "fabfile.py")


def _ignored(name: str) -> bool:
    return bool(IGNORED.intersection(PurePosixPath(name).parts)) or name.endswith(".pyc")


def _text(file: File | None) -> str:
    return file.data.decode("utf-8", "replace") if file else ""


def _tar_files(path: Path) -> dict[str, File]:
    files: dict[str, File] = {}
    total = 0
    with tarfile.open(path) as tar:
        for member in tar:
            total += member.size
            if total > LARGEST_ARCHIVE:
                raise TaskError(f"{path.name} unpacks to more than {LARGEST_ARCHIVE >> 20} MiB")
            handle = tar.extractfile(member) if member.isreg() and member.size <= LARGEST_FILE else None
            if handle is not None:
                files[_clean(member.name)] = File(handle.read(), "100755" if member.mode & 0o100 else "100644")
    return files


def _zip_files(path: Path) -> dict[str, File]:
    with zipfile.ZipFile(path) as archive:
        members = [m for m in archive.infolist() if not m.is_dir() and m.file_size <= LARGEST_FILE]
        if sum(m.file_size for m in members) > LARGEST_ARCHIVE:
            raise TaskError(f"{path.name} unpacks to more than {LARGEST_ARCHIVE >> 20} MiB")
        return {_clean(m.filename): File(archive.read(m)) for m in members}


def _clean(name: str) -> str:
    return str(PurePosixPath(name.removeprefix("./")))
