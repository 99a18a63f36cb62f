"""One rollout's world from start to score, on a real engine."""

from pathlib import Path

import pytest

from envs.blobs import MemoryBlobs, blob_of
from envs.evidence import FULL, Coverage
from envs.score import Submission
from envs.swe.environment import SweEnvironment
from envs.swe.make.folder import Edit, make_task_from_folder
from envs.swe.session import SweSession
from envs.swe.tools import BASH, EDITOR, SUBMIT
from envs.task import Reference, Task
from envs.tool import ToolResult
from tests.envs.swe.conftest import FAIL

BROKEN = "def total(items):\n    out = 0\n    for price, count in items:\n        out += price\n    return out\n"


async def bash(session: SweSession, command: str) -> ToolResult:
    return await session.call("bash", BASH.parse({"command": command}))


async def editor(session: SweSession, command: str, path: str, **given: object) -> ToolResult:
    return await session.call("str_replace_editor", EDITOR.parse({"command": command, "path": path, **given}))


def looked(result: ToolResult) -> dict[str, Coverage]:
    return {piece.source: piece.coverage for piece in result.evidence if piece.kind == "file"}


@pytest.mark.needs("docker")
class TestSession:
    @pytest.fixture
    async def session(self, world: SweEnvironment, pair: tuple[Task, Reference]):  # type: ignore[no-untyped-def]
        session = await world.start(pair[0], {"run": "test"})
        yield session
        await session.close()
        await world.close()

    async def test_neither_hidden_tests_nor_history_nor_the_fix_are_in_the_sandbox(self, session: SweSession) -> None:
        seen = await bash(
            session,
            "git log --oneline --all | wc -l; git ls-files; git status --short; git rev-list --all --objects | wc -l; "
            "grep -rl 'price [*] count' / --include=*.py --include=*.patch 2>/dev/null; "
            "git grep 'price [*] count' $(git rev-list --all)",
        )
        assert seen.text.split("\n")[0] == "1"
        assert seen.text.split("\n")[1:4] == ["shop/__init__.py", "shop/cart.py", "tests/test_count.py"]
        assert "price * count" not in seen.text

    async def test_every_way_to_look_at_a_file_is_evidence(self, session: SweSession) -> None:
        count = b"\n\ndef count(items):\n    return sum(c for _, c in items)\n"
        content = BROKEN.encode() + count
        ways = {
            "cat shop/cart.py": FULL,
            "cd shop; cat -n cart.py; cd ..": FULL,
            "less shop/cart.py": FULL,
            "head -n 2 shop/cart.py": Coverage(kind="partial", ranges=((0, 29),)),
            "sed -n '1,2p' /testbed/shop/cart.py": Coverage(kind="partial", ranges=((0, 29),)),
            "grep -n total shop/cart.py": Coverage(kind="partial", ranges=((0, 18),)),
            "grep -rn 'def total' .": Coverage(kind="partial", ranges=((0, 18),)),
            "for f in shop/*.py; do cat $f; done": FULL,
        }
        for command, coverage in ways.items():
            result = await bash(session, command)
            assert looked(result).get("shop/cart.py") == coverage, command
            piece = next(p for p in result.evidence if p.source == "shop/cart.py")
            assert (piece.blob, piece.base, piece.how) == (blob_of(content), None, "opened")
        viewed = await editor(session, "view", "/testbed/shop/cart.py")
        assert looked(viewed) == {"shop/cart.py": FULL}
        part = await editor(session, "view", "/testbed/shop/cart.py", view_range=[1, 2])
        assert looked(part) == {"shop/cart.py": Coverage(kind="partial", ranges=((0, 30),))}

    async def test_what_showed_nothing_is_no_evidence(self, session: SweSession) -> None:
        for command in (
            "wc -l shop/cart.py",
            "grep nothing shop/cart.py",
            "cat shop/cart.py > /dev/null",
            "python3 -c 'import shop.cart'",
            "cat missing.py",
            "test -f shop/cart.py && echo yes",
        ):
            assert looked(await bash(session, command)) == {}, command

    async def test_an_edited_file_keeps_its_base(self, session: SweSession, blobs: MemoryBlobs) -> None:
        await bash(session, "echo '# more' >> shop/cart.py; echo new > shop/new.py")
        result = await bash(session, "tail -n 1 shop/cart.py; cat shop/new.py")
        pieces = {p.source: p for p in result.evidence}
        assert pieces["shop/cart.py"].base is not None
        assert blobs.get(pieces["shop/cart.py"].base.hash).decode().startswith(BROKEN)
        assert blobs.get(pieces["shop/cart.py"].blob.hash).decode().endswith("# more\n")  # type: ignore[union-attr]
        assert (pieces["shop/new.py"].base, pieces["shop/new.py"].coverage) == (None, FULL)

    async def test_listings_are_evidence_of_their_own(self, session: SweSession) -> None:
        result = await bash(session, "ls shop")
        listing = next(p for p in result.evidence if p.kind == "listing")
        assert (listing.source, listing.how, listing.blob) == (".", "listed", blob_of(b"__init__.py\ncart.py\n"))
        folder = await editor(session, "view", "/testbed/shop")
        assert [(p.kind, p.source) for p in folder.evidence] == [("listing", "shop")]

    async def test_long_output_is_cut_for_the_model_and_kept_whole(
        self, session: SweSession, blobs: MemoryBlobs
    ) -> None:
        result = await bash(session, "seq 10000")
        whole = "".join(f"{n}\n" for n in range(1, 10001)).encode()
        assert result.raw is not None
        assert blobs.get(result.raw.hash) == whole
        assert result.hidden_bytes == len(whole) - 2000
        assert f"[... {len(whole) - 2000} bytes left out ...]" in result.text
        assert [whole[a:b] for a, b in result.shown] == [whole[:1000], whole[-1000:]]

    async def test_only_what_the_model_was_shown_of_a_file_counts(self, session: SweSession) -> None:
        await bash(session, "seq 10000 > numbers.txt")
        result = await bash(session, "cat numbers.txt")
        size = len("".join(f"{n}\n" for n in range(1, 10001)))
        assert looked(result) == {"numbers.txt": Coverage(kind="partial", ranges=((0, 1000), (size - 1000, size - 1)))}

    async def test_how_a_command_ended_is_told(self, session: SweSession) -> None:
        assert (await bash(session, "true")).text == "[no output]"
        assert (await bash(session, "echo no; false")).text == "no\n[exit code 1]"
        assert (await bash(session, "cd /tmp; exit 4")).text == "[exit code 4]"
        assert (await bash(session, "pwd")).text == "/tmp\n"

    async def test_edits_by_tool_and_by_shell_become_one_patch(
        self, session: SweSession, world: SweEnvironment, pair: tuple[Task, Reference]
    ) -> None:
        await editor(session, "str_replace", "shop/cart.py", old_str="out += price", new_str="out += price * count")
        await editor(session, "create", "/testbed/docs/new.txt", file_text="caf\u00e9\n")
        await bash(
            session, "printf '\\000\\001' > bin.dat; printf 'caf\\351\\n' > latin.txt; git rm -q tests/test_count.py"
        )
        await bash(
            session, "git add -A; git commit -qm mine; rm -rf .git; mkdir -p __pycache__; touch __pycache__/x.pyc"
        )
        handed = await session.call("submit", SUBMIT.parse({}))
        assert handed.final
        assert handed.submission is not None
        named = [line for line in handed.submission.text.splitlines() if line.startswith("diff --git")]
        assert named == [
            f"diff --git a/{path} b/{path}"
            for path in ("bin.dat", "docs/new.txt", "latin.txt", "shop/cart.py", "tests/test_count.py")
        ]
        score = await world.score(*pair, handed.submission)
        assert (score.verdict, score.value) == ("right", 1.0)
        assert "not applied: changes to tests/test_count.py" in score.words

    async def test_hostile_settings_of_the_repository_do_not_reach_the_patch(self, session: SweSession) -> None:
        await bash(
            session,
            "git config diff.external 'echo owned'; git config core.hooksPath /tmp/hooks; "
            "git config filter.x.clean 'echo filtered'; echo '* filter=x diff=y' > .gitattributes; "
            "git config diff.y.textconv 'echo converted'; git config core.fsmonitor 'touch /tmp/pwned'; "
            "mkdir -p ~/bin; printf '#!/bin/sh\\necho fake' > ~/bin/git; chmod +x ~/bin/git; export PATH=~/bin:$PATH; "
            "git() { echo fake; }; export GIT_DIR=/tmp GIT_EXTERNAL_DIFF='echo owned'; echo more >> shop/cart.py",
        )
        submission = await session.submission()
        assert submission is not None
        assert "+more\n" in submission.text
        for word in ("owned", "filtered", "converted", "fake"):
            assert word not in submission.text.replace("filter=x", "")

    async def test_what_gitattributes_would_convert_is_a_patch_only_where_it_was_edited(
        self, world: SweEnvironment, shop: Path, blobs: MemoryBlobs
    ) -> None:
        odd = {
            ".gitattributes": b"*.bat text eol=crlf\n*.py text\n*.u16 text working-tree-encoding=UTF-16\n*.id ident\n"
            b"*.txt diff\n",
            "run.bat": b"echo 1\r\necho 2\r\n",
            "win.py": b"x = 1\r\n",
            "a.u16": "x\n".encode("utf-16"),
            "b.id": b"$Id: abc $\n",
        }
        for path, data in odd.items():
            (shop / path).write_bytes(data)
        pair = make_task_from_folder(
            shop, [Edit("shop/cart.py", "price * count", "price")], blobs, id="o", issue="i", fail_to_pass=FAIL
        )
        session = await world.start(pair[0], {})
        try:
            assert (await bash(session, "git status --short")).text == "[no output]"
            assert await session.submission() is None
            await bash(session, "sed -i s/2/3/ run.bat; sed -i 's/= price/= price * count/' shop/cart.py")
            first = await session.submission()
            assert first is not None
            assert "-echo 2\r\n+echo 3\r\n" in first.text
            assert first.text.count("diff --git") == 2
            assert (await world.score(*pair, first)).right
            await bash(
                session, "echo '* working-tree-encoding=UTF-16 diff' > .gitattributes; printf 'caf\\351' > l.txt"
            )
            second = await session.submission()
            assert second is not None
            assert second.text.count("diff --git") == 4
        finally:
            await session.close()

    async def test_no_edits_are_no_submission(self, session: SweSession) -> None:
        assert await session.submission() is None
        handed = await session.call("submit", SUBMIT.parse({}))
        assert handed.submission == Submission(kind="patch", text="")

    async def test_a_patch_that_is_too_large_is_refused_with_the_way_out(self, session: SweSession) -> None:
        await bash(session, "head -c 20000000 /dev/urandom > big.bin")
        handed = await session.call("submit", SUBMIT.parse({}))
        assert (handed.is_error, handed.submission) == (True, None)
        assert "remove the large files" in handed.text

    async def test_a_refused_edit_is_words_and_changes_nothing(self, session: SweSession) -> None:
        wrong = [
            await editor(session, "view", "/testbed/nope.py"),
            await editor(session, "str_replace", "/testbed/shop/cart.py", old_str="nope", new_str="x"),
            await editor(session, "create", "/etc/new", file_text="x"),
            await editor(session, "create", "/testbed/x"),
            await editor(session, "undo_edit", "/testbed/shop/cart.py"),
        ]
        assert [w.is_error for w in wrong] == [True] * 5
        assert await session.submission() is None

    async def test_the_same_commands_give_the_same_observations(
        self, session: SweSession, world: SweEnvironment, pair: tuple[Task, Reference]
    ) -> None:
        commands = [
            "ls -la --time-style=full-iso shop",
            "git log; git status",
            'python3 -c \'print({"a", "b", "c"})\'',
            "cat shop/cart.py",
            "env | sort",
        ]
        again = await world.start(pair[0], {"run": "again"})
        try:
            for command in commands:
                one, two = await bash(session, command), await bash(again, command)
                assert one.model_copy(update={"seconds": 0.0}) == two.model_copy(update={"seconds": 0.0}), command
        finally:
            await again.close()
