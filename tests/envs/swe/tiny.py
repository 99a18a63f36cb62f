"""The source archive of a tiny package with tests, for tests of task making."""

import io
import tarfile
from pathlib import Path

ARCHIVE = {
    "PKG-INFO": "Metadata-Version: 2.1\nName: tiny\nVersion: 1.2\nLicense: MIT\n\ntext",
    "src/tiny/__init__.py": """
def clamp(value, low, high):
    if value < low:
        return low
    if value > high:
        return high
    return value


def spread(values):
    return max(values) - min(values)


def first_words(text, count):
    return text.split()[:count]
""",
    "tests/test_tiny.py": """
import importlib.metadata
import pytest
import tiny


@pytest.mark.parametrize("value, expected", [(1, 2), (2, 2), (3, 3), (9, 5), (5, 5)])
def test_clamp(value, expected):
    assert tiny.clamp(value, 2, 5) == expected


def test_spread():
    assert tiny.spread([3, 1, 7]) == 6


def test_words():
    assert tiny.first_words("a b c", 2) == ["a", "b"]


def test_version():
    assert importlib.metadata.version("tiny") == "1.2"


def test_that_never_passed():
    assert False


COUNT = __import__("pathlib").Path("/tmp/seen")


def test_more():
    assert tiny.clamp(0, 0, 0) == 0
""",
    "tests/test_needs_what_is_not_there.py": "import nothing_like_this\n",
    "setup.py": "raise SystemExit('never run')\n",
    "../outside.py": "x = 1 < 2\n",
}


def write_archive(folder: Path) -> Path:
    """With a link that leads out, which nobody may follow."""
    path = folder / "tiny-1.2.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name, text in ARCHIVE.items():
            member = tarfile.TarInfo(f"tiny-1.2/{name}")
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
        link = tarfile.TarInfo("tiny-1.2/src/tiny/evil.py")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    return path
