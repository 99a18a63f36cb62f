"""Environments of other packages are found, and what is wrong with one is said in words."""

from pathlib import Path

import pytest

from envs.blobs import MemoryBlobs
from envs.environment import Site
from envs.errors import EnvironmentFailure
from envs.registry import create

CODE = """
class Good:
    name = "good"
    def __init__(self, site):
        self.site = site

class Broken:
    def __init__(self, site):
        raise KeyError("a setting of mine")
"""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(root=tmp_path, blobs=MemoryBlobs())


def install(folder: Path, package: str, entries: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    info = folder / package / f"{package}-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / package / f"{package}_code.py").write_text(CODE)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = [f"{name} = {package}_code:{what}" for name, what in entries.items()]
    (info / "entry_points.txt").write_text("\n".join(["[trajc.environments]", *lines, ""]))
    monkeypatch.syspath_prepend(str(folder / package))


def test_one_that_cannot_be_made_is_named(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "one", {"reg-good": "Good", "reg-broken": "Broken", "reg-gone": "Gone"}, monkeypatch)
    assert create("reg-good", site).name == "good"
    with pytest.raises(EnvironmentFailure, match="'reg-broken' cannot be loaded: KeyError: 'a setting of mine'"):
        create("reg-broken", site)
    with pytest.raises(EnvironmentFailure, match=r"'reg-gone' cannot be loaded: AttributeError: .*Gone"):
        create("reg-gone", site)


def test_a_name_of_two_packages_is_no_ones(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "three", {"reg-twice": "Good", "search": "Good"}, monkeypatch)
    install(tmp_path, "four", {"reg-twice": "Good"}, monkeypatch)
    words = "could be four_code:Good or three_code:Good: uninstall all but one"
    with pytest.raises(EnvironmentFailure, match=words):
        create("reg-twice", site)
    with pytest.raises(
        EnvironmentFailure, match=r"'search' could be envs\.search\.environment:SearchEnvironment or three"
    ):
        create("search", site)
