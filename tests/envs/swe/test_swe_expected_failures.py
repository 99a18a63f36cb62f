"""Tests that are expected to fail: where the tests say so, and nobody else."""

from pathlib import Path

from envs.blobs import MemoryBlobs
from envs.score import Submission
from envs.swe.environment import SweEnvironment
from envs.swe.make.folder import Edit, make_task_from_folder
from envs.swe.world import SweReference
from tests.envs.swe.conftest import FAIL

BUG = [Edit("shop/cart.py", "price * count", "price")]


async def test_a_failure_that_the_tests_themselves_expect_counts_as_passed(
    either_world: SweEnvironment, shop: Path, blobs: MemoryBlobs
) -> None:
    (shop / "tests/test_count.py").write_text(
        "import pytest, unittest\nfrom pytest import xfail\n"
        "def test_count():\n    pytest.xfail('known')\n"
        "def test_name():\n    xfail('known')\n"
        "@pytest.mark.xfail\ndef test_mark():\n    assert False\n"
        "@pytest.fixture\ndef known():\n    pytest.xfail('known')\n"
        "def test_fixture(known):\n    pass\n"
        "class TestCase(unittest.TestCase):\n"
        "    @unittest.expectedFailure\n    def test_expected(self):\n        assert False\n"
    )
    names = ("test_count", "test_name", "test_mark", "test_fixture", "TestCase::test_expected")
    expected = tuple(f"tests/test_count.py::{name}" for name in names)
    pair = make_task_from_folder(shop, BUG, blobs, id="x", issue="i", fail_to_pass=FAIL, pass_to_pass=expected)
    fix = Submission(kind="patch", text=SweReference.model_validate(pair[1].data).gold_patch)
    given = await either_world.score(*pair, fix)
    assert given.words == "all 6 tests passed"
