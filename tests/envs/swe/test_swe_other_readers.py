"""A patch that git refuses and `patch` takes: what the judge leaves out of it is all that either would read."""

import asyncio
from pathlib import Path

from envs.blobs import MemoryBlobs
from envs.score import Submission
from envs.swe.environment import SweEnvironment
from envs.swe.make.folder import Edit, make_task_from_folder
from tests.envs.swe.conftest import FAIL, PASS

PASSING = """import pytest
@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport():
    out = yield
    out.get_result().outcome = "passed"
"""
ADDED = f"@@ -0,0 +1,{PASSING.count(chr(10))} @@\n" + "".join(f"+{line}\n" for line in PASSING.splitlines())
FUZZY = """diff --git a/shop/cart.py b/shop/cart.py
--- a/shop/cart.py
+++ b/shop/cart.py
@@ -1,4 +1,5 @@
 def total(items):
     out = 0
+    # more
     for price, count in items:
 which git refuses and patch takes
"""
ONLY_FOR_PATCH = {
    "a header that renames onto another file": (
        "diff --git a/shop/notes.py b/conftest.py\nsimilarity index 100%\n"
        "rename from shop/notes.py\nrename to shop/other.py\n"
    ),
    "a header that copies onto another file": (
        "diff --git a/shop/notes.py b/conftest.py\nsimilarity index 100%\n"
        "copy from shop/notes.py\ncopy to shop/other.py\n"
    ),
    "a header that names another file": (
        f"diff --git a/conftest.py b/conftest.py\nnew file mode 100644\n--- /dev/null\n+++ b/shop/z.py\n{ADDED}"
    ),
    "a header alone that names a file": (
        f"diff --git a/shop/z.py b/conftest.py\nnew file mode 100644\n--- /dev/null\n+++ /dev/null\n{ADDED}"
    ),
    "a name that a space ends": f"--- /dev/null\n+++ b/conftest.py shop/z.py\n{ADDED}",
    "a name that a quote ends": f'--- /dev/null\n+++ "b/conftest.py" shop/z.py\n{ADDED}',
    "a context diff": (
        "*** a/conftest.py\n--- b/conftest.py\n***************\n*** 0 ****\n--- 1,5 ----\n"
        + "".join(f"+ {line}\n" for line in PASSING.splitlines())
    ),
    "an indented diff": "".join(f"  {line}\n" for line in f"--- /dev/null\n+++ b/conftest.py\n{ADDED}".splitlines()),
}


async def test_what_only_another_program_reads_so_brings_no_conftest(
    either_world: SweEnvironment, shop: Path, blobs: MemoryBlobs
) -> None:
    (shop / "shop/notes.py").write_text(PASSING)
    bug = [Edit("shop/cart.py", "price * count", "price")]
    pair = make_task_from_folder(shop, bug, blobs, id="o", issue="i", fail_to_pass=FAIL, pass_to_pass=PASS)
    handed = [Submission(kind="patch", text=FUZZY + patch) for patch in ONLY_FOR_PATCH.values()]
    given = await asyncio.gather(*(either_world.score(*pair, one) for one in handed))
    untouched = "0 of 1 failing tests fixed; not passed: tests/test_cart.py::test_total (failed)"
    said = {name: score.words for name, score in zip(ONLY_FOR_PATCH, given, strict=True)}
    assert {name: words for name, words in said.items() if not words.startswith(untouched)} == {}
