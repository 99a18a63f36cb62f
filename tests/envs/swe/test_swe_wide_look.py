"""Looking without saying at what, and at many files at once: evidence of all that was shown, and of nothing else."""

from pathlib import Path

import pytest

from envs.blobs import MemoryBlobs
from envs.environment import Site
from envs.evidence import FULL, Coverage
from envs.swe.environment import SweEnvironment
from envs.swe.make.folder import Edit, make_task_from_folder
from envs.swe.session import SweSession
from envs.swe.tools import BASH
from envs.task import Reference, Task
from envs.tool import ToolResult
from tests.envs.swe.conftest import FAIL, PASS

BUG = [Edit("shop/cart.py", "price * count", "price")]
MANY = 1500
WHOLE = (
    "find . -name cart.py -exec cat {} \\;",
    "find shop -type f | xargs cat",
    "git ls-files shop | xargs tail -n +1",
    "for f in $(find . -name 'cart.py'); do echo \"=== $f\"; cat -n $f; done",
    "cat $(git ls-files | grep cart.py | head -1)",
    "F=cart; cat shop/$F.py",
    "f=shop/cart.py; cat $f",
    "cat shop/{cart,__init__}.py",
    'cat "$PWD"/shop/cart.py',
    "pushd shop > /dev/null; cat cart.py; popd > /dev/null",
    "bash -c 'cat shop/cart.py'",
    "echo shop/cart.py | xargs cat",
    'while IFS= read -r line; do echo "$line"; done < shop/cart.py',
    "python3 -c \"print(open('shop/cart.py').read())\"",
    "python3 - <<'EOF'\nfrom pathlib import Path\nprint(Path('/testbed/shop/cart.py').read_text())\nEOF",
    'python3 -c "import inspect, shop.cart; print(inspect.getsource(shop.cart))"',
    "cp shop/cart.py /tmp/copy.py; cat /tmp/copy.py",
    "ln -sf /testbed/shop/cart.py /tmp/link.py; cat /tmp/link.py",
    "stdbuf -o0 cat shop/cart.py",
    "! cat shop/cart.py",
    "sed '' shop/cart.py",
    "cat -A shop/cart.py",
    "grep -n '' shop/cart.py",
    "cat shop/cart.py | awk '{print NR, $0}'",
    "git blame shop/cart.py",
    "git show",
    "diff -u /dev/null shop/cart.py",
    "exec 3< shop/cart.py; cat <&3; exec 3<&-",
)
LINE = (
    'grep -Rn "def total" /testbed',
    "cd shop && grep -n 'def total' *.py; cd ..",
    "find . -name '*.py' -exec grep -n 'def total' {} +",
    "python3 -c \"print(open('shop/cart.py').readline())\"",
)


@pytest.fixture
async def session(either_world: SweEnvironment, pair: tuple[Task, Reference]):  # type: ignore[no-untyped-def]
    made = await either_world.start(pair[0], {})
    yield made
    await made.close()


async def bash(session: SweSession, command: str) -> ToolResult:
    return await session.call("bash", BASH.parse({"command": command}))


def looked(result: ToolResult) -> dict[str, Coverage]:
    return {piece.source: piece.coverage for piece in result.evidence if piece.kind == "file"}


async def test_a_file_is_evidence_however_it_came_to_be_shown(session: SweSession) -> None:
    said = {command: looked(await bash(session, command)).get("shop/cart.py") for command in (*WHOLE, *LINE)}
    first = Coverage(kind="partial", ranges=((0, 18),))
    assert said == dict.fromkeys(WHOLE, FULL) | dict.fromkeys(LINE, first)


async def test_what_only_names_a_file_is_no_evidence_of_it(session: SweSession) -> None:
    for command in (
        "ls -laR",
        "git ls-files; git status",
        "find . -name '*.py'; wc -l shop/cart.py",
        "python3 -c 'import ast; print(len(ast.parse(open(\"shop/cart.py\").read()).body))'",
        "stat shop/cart.py; file shop/cart.py; md5sum shop/cart.py",
        "cp shop/cart.py shop/till.py; rm shop/till.py; echo done",
    ):
        assert looked(await bash(session, command)) == {}, command


async def test_a_link_of_the_repository_is_evidence_of_the_file_that_it_leads_to(
    either_world: SweEnvironment, shop: Path, blobs: MemoryBlobs
) -> None:
    (shop / "till.py").symlink_to("shop/cart.py")
    pair = make_task_from_folder(shop, BUG, blobs, id="l", issue="i", fail_to_pass=FAIL, pass_to_pass=PASS)
    session = await either_world.start(pair[0], {})
    pieces = (await bash(session, "cat till.py")).evidence
    assert [(p.source, p.coverage, p.base) for p in pieces] == [("shop/cart.py", FULL, None)]
    await session.close()


@pytest.mark.needs("docker")
async def test_a_search_through_a_large_repository_reads_only_what_it_showed(
    shop: Path,
    blobs: MemoryBlobs,
    base_image: str,  # noqa: ARG001
) -> None:
    for n in range(MANY):
        (shop / f"part{n % 20}").mkdir(exist_ok=True)
        (shop / f"part{n % 20}/m{n}.py").write_text(f"def f{n}():\n    return {n}  # common\n\n\nLEFT = {n}\n")
    pair = make_task_from_folder(shop, BUG, blobs, id="w", issue="i", fail_to_pass=FAIL, pass_to_pass=PASS)
    world = SweEnvironment(Site(shop, blobs, {"shown_bytes": 16000}))
    session = await world.start(pair[0], {"service": "trajc-tests-wide"})
    reads: list[str] = []
    read = session._sandbox.read

    async def counted(path: str, limit: int) -> bytes | None:
        reads.append(path)
        return await read(path, limit)

    session._sandbox.read = counted  # type: ignore[method-assign]
    try:
        one = looked(await bash(session, "grep -rn 'def f7()' ."))
        assert (list(one), len(reads)) == (["part7/m7.py"], 1)
        shown = await bash(session, "grep -rn common .")
        named = {line.partition(":")[0].removeprefix("./") for line in shown.text.splitlines() if line[:2] == "./"}
        assert set(looked(shown)) == named
        assert 64 < len(named) < MANY
        assert len(reads) <= 1 + 64
        assert looked(await bash(session, "git ls-files; grep -rh 'return 7 ' .")).keys() == {"part7/m7.py"}
        assert looked(await bash(session, "git ls-files | head -1000; grep -c '' part7/m7.py")) == {}
        assert len(reads) < 100
    finally:
        await session.close()
        await world.close()
