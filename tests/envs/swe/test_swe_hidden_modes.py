"""Hidden files are put in place as what they are: programs, links."""

from pathlib import Path

from envs.blobs import MemoryBlobs
from envs.score import Submission
from envs.swe.environment import SweEnvironment
from envs.swe.make.folder import Edit, make_task_from_folder
from envs.task import Reference
from tests.envs.swe.conftest import FAIL, PASS

TEST = """import os, subprocess
def test_count():
    assert subprocess.run(["tests/data/run.sh"], capture_output=True).stdout == b"ran\\n"
    assert os.readlink("tests/data/link") == "run.sh"
"""


async def test_programs_and_links_among_the_hidden_tests_stay_what_they_are(
    either_world: SweEnvironment, shop: Path, blobs: MemoryBlobs
) -> None:
    (shop / "tests/data").mkdir()
    (shop / "tests/data/run.sh").write_text("#!/bin/sh\necho ran\n")
    (shop / "tests/data/run.sh").chmod(0o755)
    (shop / "tests/data/link").symlink_to("run.sh")
    (shop / "tests/test_count.py").write_text(TEST)
    bug = [Edit("shop/cart.py", "price * count", "price")]
    task, given = make_task_from_folder(shop, bug, blobs, id="m", issue="i", fail_to_pass=FAIL, pass_to_pass=PASS)
    more = {"tests/data/run.sh": blobs.put(b"#!/bin/sh\necho ran\n").hash, "tests/data/link": blobs.put(b"run.sh").hash}
    reference = Reference(data={**given.data, "hidden_tests": {**given.data["hidden_tests"], **more}})
    score = await either_world.score(task, reference, Submission(kind="patch", text=given.data["gold_patch"]))
    assert score.words == "all 3 tests passed"
