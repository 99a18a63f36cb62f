"""Code under test that is imported before the tests of another module brings them no tests of its own."""

from pathlib import Path

import pytest

from envs.blobs import MemoryBlobs
from envs.score import Submission
from envs.swe.environment import SweEnvironment
from envs.swe.make.folder import Edit, make_task_from_folder
from envs.swe.patch import diff
from tests.envs.swe.conftest import SHOP

BROKEN = SHOP["shop/cart.py"].replace("price * count", "price")
BUG = [Edit("shop/cart.py", "price * count", "price")]
LATE = "tests/test_late.py::test_total"
EARLY = "tests/test_count.py::test_count"
FINDER = """
import importlib.abc, importlib.util, os, sys
class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path, target=None):
        here = os.path.abspath("tests/test_late.py")
        if name.endswith("test_late"):
            return SPEC
    def exec_module(self, module):
        module.__file__ = os.path.abspath("tests/test_late.py")
        module.test_total = lambda: None
sys.meta_path.insert(0, Finder())
"""
EXCHANGED = {
    "by a loader": FINDER.replace("SPEC", "importlib.util.spec_from_file_location(name, here, loader=self)"),
    "by another file": FINDER.replace("SPEC", "importlib.util.spec_from_file_location(name, os.path.abspath(OTHER))"),
    "by hand": """
import os, sys, types
made = types.ModuleType("test_late")
made.__file__ = os.path.abspath("tests/test_late.py")
made.test_total = lambda: None
sys.modules["test_late"] = sys.modules["tests.test_late"] = made
""",
}
OTHER = "import os\n__file__ = os.path.abspath('tests/test_late.py')\ndef test_total(): pass\n"


@pytest.mark.parametrize("how", EXCHANGED)
async def test_an_import_hook_exchanges_no_test_module(
    either_world: SweEnvironment, shop: Path, blobs: MemoryBlobs, how: str
) -> None:
    (shop / "tests/test_late.py").write_text(SHOP["tests/test_cart.py"])
    pair = make_task_from_folder(shop, BUG, blobs, id="l", issue="i", fail_to_pass=(LATE,), pass_to_pass=(EARLY,))
    source = BROKEN + EXCHANGED[how].replace("OTHER", "'shop/other.py'")
    patch = diff("shop/cart.py", BROKEN, source) + diff("shop/other.py", None, OTHER)
    given = await either_world.score(*pair, Submission(kind="patch", text=patch))
    assert "the test module " in given.words
    fixed = diff("shop/cart.py", BROKEN, SHOP["shop/cart.py"])
    assert (await either_world.score(*pair, Submission(kind="patch", text=fixed))).right
