"""A real history: the source of a Debian package, its upstream release and then every fix as a commit of its own.

Debian's stable releases carry upstream's fixes one by one, as patches with their authors' words and their tests.
"""

import os
import subprocess
import tarfile
from email.parser import HeaderParser
from pathlib import Path

SOURCES = """deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian bookworm main
deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian-security bookworm-security main
"""  # noqa: E501
SETTINGS = """Dir::Etc::sourcelist "{here}/sources.list";
Dir::Etc::sourceparts "/nonexistent";
Dir::State::lists "{here}/lists";
Dir::Cache "{here}/cache";
APT::Sandbox::User "root";
"""


def fixes(package: str, folder: Path) -> tuple[str, list[Path]]:
    """The upstream version that Debian has, and its patches in their order; fetched by apt with lists of our own."""
    for name in ("lists/partial", "cache/archives/partial", "source"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "sources.list").write_text(SOURCES)
    (folder / "apt.conf").write_text(SETTINGS.format(here=folder))
    environ = {**os.environ, "APT_CONFIG": str(folder / "apt.conf")}
    here = folder / "source"
    for words in (["update", "-qq"], ["source", "-qq", "--download-only", "--diff-only", package]):
        done = subprocess.run(["apt-get", *words], cwd=here, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    (archive,) = here.glob("*.debian.tar.xz")
    with tarfile.open(archive) as tar:
        tar.extractall(here, filter="data")
    patches = here / "debian" / "patches"
    series = [line.split()[0] for line in (patches / "series").read_text().splitlines() if line[:1].strip("#")]
    return archive.name.split("_")[1].rpartition("-")[0], [patches / name for name in series]


def history(files: Path, patches: list[Path]) -> None:
    """Make `files` a repository: one commit for the release, one for each patch, with its own words."""
    git(files, "init", "-q", "-b", "main")
    git(files, "add", "-A")
    git(files, "commit", "-qm", "Release")
    for patch in patches:
        git(files, "apply", "--index", "--whitespace=nowarn", str(patch))
        about = HeaderParser().parsestr(patch.read_text().partition("\n---")[0])
        words = f"{about['Subject'] or about['Description'] or patch.stem}\n\n{about.get_payload()}"
        git(files, "commit", "-qm", words)


def git(folder: Path, *words: str) -> str:
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@localhost", *words]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout
