"""What a command's words claim to have read, and what its output bears out."""

import pytest

from envs.evidence import FULL, Coverage
from envs.swe.command import Claim, reading
from envs.swe.looked import Said, claimed_paths, line_coverage, mentioned, shown_of

KNOWN = {"a.py", "pkg/b.py", "pkg/c.py", "pkg/sub/d.py", "with space.txt"}


def claims(command: str, directory: str = "/testbed") -> list[tuple[str, object]]:
    """(path, lines) of every file that the command claims."""
    return [
        (path, claim.lines if not claim.whole else "whole")
        for claim in reading(command, directory).claims
        for path in claimed_paths(claim, "/testbed", KNOWN)
    ]


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("cat a.py", [("a.py", "whole")]),
        ("cat -n /testbed/pkg/b.py", [("pkg/b.py", "whole")]),
        ("cd pkg && cat b.py; cat ../a.py", [("pkg/b.py", "whole"), ("a.py", "whole")]),
        ("cat 'with space.txt'", [("with space.txt", "whole")]),
        ("cat pkg/*.py", [("pkg/b.py", "whole"), ("pkg/c.py", "whole")]),
        ("head a.py", [("a.py", (1, 10))]),
        ("head -n 20 a.py", [("a.py", (1, 20))]),
        ("head -5 a.py", [("a.py", (1, 5))]),
        ("tail -n 3 a.py", [("a.py", (-3, -1))]),
        ("tail -n +7 a.py", [("a.py", (7, -1))]),
        ("sed -n '10,20p' a.py", [("a.py", (10, 20))]),
        ("sed -n 5p a.py", [("a.py", (5, 5))]),
        ("sed -n '5,$p' a.py", [("a.py", (5, -1))]),
        ("sed -n -e 1,3p -e 7,9p a.py", [("a.py", (1, 9))]),
        ("nl -ba a.py | sed -n '3,4p'", [("a.py", (3, 4))]),
        ("cat a.py | head -n 2", [("a.py", (1, 2))]),
        ("cat a.py | grep x", [("a.py", None)]),
        ("grep -n 'def' a.py", [("a.py", None)]),
        ("grep -rn def pkg", [("pkg/b.py", None), ("pkg/c.py", None), ("pkg/sub/d.py", None)]),
        ("for f in a.py pkg/b.py; do cat $f; done", [("a.py", "whole"), ("pkg/b.py", "whole")]),
        ('for f in a.py; do echo == $f; cat "${f}"; done', [("a.py", "whole")]),
        ("(cat a.py)", [("a.py", "whole")]),
        ("timeout 5 cat a.py 2>/dev/null", [("a.py", "whole")]),
        ("LC_ALL=C cat a.py 2>&1", [("a.py", "whole")]),
        ("cat < a.py", [("a.py", "whole")]),
        ("echo `cat a.py`", [("a.py", "whole")]),
        ("cat /etc/passwd", []),
        ("cat ../outside.py", []),
        ("cat a.py > copy.py", []),
        ("cat > a.py <<'EOF'\ncat pkg/b.py\nEOF", []),
        ("sed -i s/x/y/ a.py", []),
        ("rm a.py; touch a.py", []),
        ("echo 'cat a.py'", []),
        ("python3 -m pytest", []),
        ("cat 'unterminated a.py", [("a.py", "whole")]),
    ],
)
def test_a_commands_words_claim_files(command: str, expected: list[tuple[str, object]]) -> None:
    assert claims(command) == expected


@pytest.mark.parametrize(
    "command", ["", "|||", "$(((", "cat <<", "for", "for f in", "sed -n", "head -n", "\\", "cd", "`"]
)
def test_words_that_make_no_sense_claim_nothing_and_break_nothing(command: str) -> None:
    assert claims(command) == []


def test_listings_are_told_from_readings() -> None:
    assert reading("ls -la pkg", "/testbed").lists
    assert reading("cd pkg; find . -name x | head", "/testbed").lists
    assert not reading("cat a.py", "/testbed").lists
    assert reading("cd pkg; ls", "/testbed").directory == "/testbed/pkg"


CONTENT = b"import os\n\ndef one():\n    return 1\n\ndef two():\n    return 2\n"


def shown(raw: bytes, lines: tuple[int, int] | None = None) -> Coverage | None:
    return shown_of(CONTENT, Said(raw, [(0, len(raw))]), lines, "pkg/b.py")


def part(*texts: bytes) -> Coverage:
    return Coverage(kind="partial", ranges=tuple((CONTENT.index(t), CONTENT.index(t) + len(t)) for t in texts))


def test_the_whole_text_is_full_coverage() -> None:
    assert shown(CONTENT) == FULL
    assert shown(b"== b.py\n" + CONTENT + b"done\n") == FULL


def test_numbered_lines_are_the_lines_that_they_number() -> None:
    numbered = b"".join(b"%6d\t%s\n" % (n, line) for n, line in enumerate(CONTENT.split(b"\n")[:-1], 1))
    assert shown(numbered) == FULL
    assert shown(b"     3\tdef one():\n     4\t    return 1\n") == part(b"def one():\n    return 1\n")


def test_what_cat_and_diff_write_beside_a_line_hides_none() -> None:
    ended = b"".join(line + b"$\n" for line in CONTENT.split(b"\n")[:-1])
    assert shown(b"".join(b"%6d\t%s\n" % (n, line) for n, line in enumerate(ended.split(b"\n")[:-1], 1))) == FULL
    assert shown(ended.replace(b"$", b"^M$")) == FULL
    assert shown(b"1,7d0\n" + b"".join(b"< " + line + b"\n" for line in CONTENT.split(b"\n")[:-1])) == FULL


def test_a_number_that_is_not_the_lines_own_does_not_count() -> None:
    assert shown(b"     7\tdef one():\n") is None


def test_greps_lines_are_found_behind_the_files_name() -> None:
    raw = b"pkg/b.py:3:def one():\npkg/c.py:1:def two():\n./pkg/b.py-4-    return 1\n"
    assert shown(raw) == part(b"def one():\n    return 1\n")


def test_a_range_is_looked_for_where_it_was_asked() -> None:
    assert shown(b"def two():\n", (6, 6)) == part(b"def two():")
    assert shown(b"def two():\n", (1, 3)) is None


def test_what_was_cut_for_the_model_is_not_covered() -> None:
    seen = shown_of(CONTENT, Said(CONTENT, [(0, 10), (40, len(CONTENT))]), None, "b.py")
    assert seen == Coverage(kind="partial", ranges=((0, 10), (40, len(CONTENT) - 1)))


def test_output_that_holds_nothing_of_the_file_is_no_evidence() -> None:
    assert shown(b"cat: b.py: Permission denied\n") is None
    assert shown(b"7 b.py\n") is None


def test_files_that_only_the_output_names_are_found() -> None:
    raw = b"pkg/b.py:3:x\n./a.py:1:y\nnot/known.py:2:z\n+++ b/pkg/c.py\n"
    assert mentioned(raw, KNOWN, "/testbed", "/testbed") == {"pkg/b.py", "a.py", "pkg/c.py"}
    assert mentioned(b"b.py:3:x\n", KNOWN, "/testbed/pkg", "/testbed") == {"pkg/b.py"}


def test_lines_become_bytes() -> None:
    assert line_coverage(CONTENT, 3, 4) == part(b"def one():\n    return 1\n")
    assert line_coverage(CONTENT, 1, 7) == FULL
    assert line_coverage(b"", 1, 1) == FULL


def test_a_claim_outside_of_the_repository_names_no_file() -> None:
    assert claimed_paths(Claim("/etc/passwd", "/testbed", None, True), "/testbed", KNOWN) == []
    assert claimed_paths(Claim("../testbed-other/a.py", "/testbed", None, True), "/testbed", KNOWN) == []


def test_a_number_of_thousands_of_digits_breaks_nothing() -> None:
    digits = "1" * 5000
    for command in (f"head -n {digits} a.py", f"tail -{digits} a.py", f"sed -n '{digits},9p' a.py"):
        assert [path for path, _ in claims(command)] == ["a.py"], command
    assert shown(f"{digits} x\nabcdef1 (me {digits}) x\n".encode()) is None


LOOPING = (
    "cat <<" + "A" * 50_000 + "\n" * 49_000,
    "cat <<A" + "\n" * 90_000,
    "<<A x\n" * 16_000,
    "sed -n '" + "1" * 90_000 + "'",
    "for x in " + "a " * 25_000 + "; do cat " + "$x " * 15_000 + "; done",
    "for x in " + "a " * 25_000 + "; do " + "cat $x;" * 7000 + " done",
    "cd a;" * 19_000 + "ls",
    "cd .. && " * 11_000 + "ls",
)


def test_no_command_keeps_its_reader_busy() -> None:
    """Each is what a model may write that says one thing again and again; read one by one they took minutes or more
    memory than there is."""
    for command in LOOPING:
        read = reading(command, "/testbed")
        assert len(read.claims) <= 2000
        assert sum(map(len, read.directories)) < 1 << 20


def test_heredocs_are_no_commands_and_what_follows_them_is() -> None:
    text = "cat <<'A' > x\ncat a.py\nA\ncat pkg/b.py <<B\ncat a.py\n  B  \ncat pkg/c.py <<C\ncat a.py\n"
    assert claims(text) == [("pkg/b.py", "whole"), ("pkg/c.py", "whole"), ("a.py", "whole")]
