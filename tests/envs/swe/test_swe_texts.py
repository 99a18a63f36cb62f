"""Decisions on text alone: edits, patches, output bounds, test logs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.swe.editor import EditRefused, Undo, inserted, replaced, view
from envs.swe.observed import observe
from envs.swe.output import HeadTail
from envs.swe.patch import diff, split, touched, without
from envs.swe.testlog import cut_ids, exit_code, parser_for, pytest_log, sympy_log, unittest_log
from envs.swe.tools import EditorArguments


def edit(command: str, **given: object) -> EditorArguments:
    return EditorArguments.model_validate({"command": command, "path": "/testbed/a.py", **given})


def test_a_replacement_must_match_once_and_the_refusal_says_where() -> None:
    text = "a = 1\nb = 2\na = 1\n"
    assert replaced(text, edit("str_replace", old_str="b = 2", new_str="b = 3"))[0] == "a = 1\nb = 3\na = 1\n"
    assert replaced(text, edit("str_replace", old_str="b = 2\n"))[0] == "a = 1\na = 1\n"
    for arguments, words in [
        (edit("str_replace", old_str="a = 1", new_str="x"), r"stands 2 times \(lines 1, 3\)"),
        (edit("str_replace", old_str="A = 1", new_str="x"), "does not stand in /testbed/a.py"),
        (edit("str_replace", new_str="x"), "needs old_str"),
        (edit("str_replace", old_str="b", new_str="b"), "are the same"),
    ]:
        with pytest.raises(EditRefused, match=words):
            replaced(text, arguments)


def test_a_replacement_that_fits_a_million_times_is_refused_at_once() -> None:
    with pytest.raises(EditRefused, match=r"stands 2097152 times \(lines 1, 1, 2, 2, 3, 3, 4, 4, 5, 5\)"):
        replaced("  \n" * (1 << 20), edit("str_replace", old_str=" ", new_str=""))


def test_an_insertion_goes_after_the_line() -> None:
    assert inserted("a\nb\n", edit("insert", insert_line=0, new_str="x"))[0] == "x\na\nb\n"
    assert inserted("a\nb\n", edit("insert", insert_line=1, new_str="x\ny\n"))[0] == "a\nx\ny\nb\n"
    assert inserted("a\nb\n", edit("insert", insert_line=2, new_str="x"))[0] == "a\nb\nx\n"
    assert inserted("", edit("insert", insert_line=0, new_str="x"))[0] == "x\n"
    with pytest.raises(EditRefused, match="the file has 2 lines"):
        inserted("a\nb\n", edit("insert", insert_line=3, new_str="x"))


def test_a_view_has_line_numbers_and_refuses_ranges_outside() -> None:
    assert view("a\nb\nc\n", None) == ("     1\ta\n     2\tb\n     3\tc", 1, 3)
    assert view("a\nb\nc\n", [2, -1]) == ("     2\tb\n     3\tc", 2, 3)
    assert view("a\nb\nc\n", [2, 99]) == ("     2\tb\n     3\tc", 2, 3)
    for wrong in ([0, 2], [4, 5], [3, 2], [1]):
        with pytest.raises(EditRefused):
            view("a\nb\nc\n", wrong)


def test_edits_are_taken_back_last_first() -> None:
    undo = Undo()
    undo.remember("a", None)
    undo.remember("a", "one")
    assert [undo.last("a"), undo.last("a")] == ["one", None]
    with pytest.raises(EditRefused, match="no edit of a"):
        undo.last("a")


@given(st.lists(st.binary(max_size=50)), st.integers(min_value=2, max_value=60))
def test_head_and_tail_hold_the_ends_of_any_stream(chunks: list[bytes], keep: int) -> None:
    whole = b"".join(chunks)
    kept = HeadTail(keep)
    for chunk in chunks:
        kept.feed(chunk)
    data, left_out, cut_at = kept.result()
    assert len(data) + left_out == len(whole)
    assert len(data) <= keep
    if left_out:
        assert (data[:cut_at], data[cut_at:]) == (whole[: keep // 2], whole[len(whole) - keep // 2 :])
    else:
        assert data == whole


def test_what_the_model_is_shown_is_told_from_what_is_kept() -> None:
    whole = observe(b"short", 100)
    assert (whole.text, whole.raw, whole.shown, whole.hidden, whole.lost) == ("short", b"short", ((0, 5),), 0, 0)
    cut = observe(b"a" * 50 + b"b" * 50, 20)
    assert (cut.shown, cut.hidden) == (((0, 10), (90, 100)), 80)
    assert "".join(cut.raw[a:b].decode() for a, b in cut.shown) == "a" * 10 + "b" * 10
    odd = observe(b"\xff\0ok", 100)
    assert (odd.text, odd.raw) == ("\ufffd\ufffdok", b"\xff\0ok")
    lost = observe(b"aabb", 100, left_out=9, cut_at=2)
    assert (lost.raw, lost.lost) == (b"aa\n[... 9 bytes were not kept ...]\nbb", 9)


PATCH = """diff --git a/pkg/a.py b/pkg/a.py
index 1..2 100644
--- a/pkg/a.py
+++ b/pkg/a.py
@@ -1 +1 @@
-x
+y
diff --git a/new.txt b/new.txt
new file mode 100644
--- /dev/null
+++ b/new.txt
@@ -0,0 +1 @@
+--- a/not/a/header
diff --git a/old.txt b/old.txt
deleted file mode 100644
--- a/old.txt
+++ /dev/null
@@ -1 +0,0 @@
-x
diff --git a/img.png b/img.png
new file mode 100644
index 0..1
GIT binary patch
literal 1
IcmZPo000310RR91

diff --git a/from.py b/to.py
similarity index 100%
rename from from.py
rename to to.py
diff --git "a/caf\\303\\251.txt" "b/caf\\303\\251.txt"
--- "a/caf\\303\\251.txt"
+++ "b/caf\\303\\251.txt"
@@ -1 +1 @@
-x
+y
"""


def test_a_patchs_files_are_told() -> None:
    parts = split(PATCH)
    assert [(p.path, p.old_path, p.creates) for p in parts] == [
        ("pkg/a.py", "", False),
        ("new.txt", "", True),
        ("old.txt", "", False),
        ("img.png", "", True),
        ("to.py", "from.py", False),
        ("café.txt", "", False),
    ]
    assert "".join(p.text for p in parts) == PATCH
    assert touched(PATCH) == ["pkg/a.py", "new.txt", "old.txt", "img.png", "to.py", "from.py", "café.txt"]


def test_parts_are_taken_out_whole() -> None:
    kept, dropped = without(PATCH, lambda part: part.path != "new.txt")
    assert dropped == ["pkg/a.py", "old.txt", "img.png", "to.py", "café.txt"]
    assert [p.path for p in split(kept)] == ["new.txt"]


def test_a_diff_without_git_headers_is_understood_and_prose_is_none() -> None:
    plain = "--- a/x.py\n+++ b/x.py\n@@ -1 +1 @@\n-a\n+b\n"
    assert touched(plain) == ["x.py"]
    assert split("I changed x.py as asked.\n") == []
    assert split("") == []


def test_our_own_diffs_say_when_no_newline_ends_a_file() -> None:
    assert diff("x", "a\n", "a") == (
        "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+a\n\\ No newline at end of file\n"
    )
    assert diff("x", "a", "a") == ""
    assert diff("x", None, "a\n").startswith("diff --git a/x b/x\nnew file mode 100644\n--- /dev/null\n+++ b/x\n")
    assert diff("x", "a\x0cb\u2028c\n", "a\x0cb\u2028d\n").count("\n-a") == 1


LOG = """PASSED tests/t.py::fake
=================== short test summary info ====================
PASSED tests/t.py::printed_by_a_test
=========================== PASSES =============================
\x1b[36m=========== short test summary info ============\x1b[0m
\x1b[32mPASSED\x1b[0m tests/t.py::\x1b[1mtest_one\x1b[0m
PASSED tests/t.py::test_p[a - b]
FAILED tests/t.py::test_q[a - b] - AssertionError: 1 - 2
FAILED tests/t.py::test_two - assert 1 == 2
ERROR tests/t.py::test_one - teardown broke
XFAIL tests/t.py::test_x - known
SKIPPED [1] tests/t.py:3: not here
ERROR tests/broken.py
=================== 3 failed in 0.1s ===================
"""


def test_pytests_last_summary_is_what_counts() -> None:
    asked = ["tests/t.py::test_q[a - b]"]
    assert (
        pytest_log(LOG, 1, asked)
        == {
            "tests/t.py::test_one": "error",
            "tests/t.py::test_p[a - b]": "passed",
            "tests/t.py::test_q[a - b]": "failed",
            "tests/t.py::test_two": "failed",
            "tests/t.py::test_x": "passed",
            "[1] tests/t.py:3: not here": "skipped",
            "tests/broken.py": "error",
        }
        or pytest_log(LOG, 1, asked)["tests/t.py::test_p[a - b]"] == "passed"
    )
    assert pytest_log("no summary", 0, asked) == {}


def test_unittests_lines_are_read_in_both_forms() -> None:
    log = "test_a (m.C) ... ok\n"
    log += "test_b (m.C.test_b) ... FAIL\ntest_c (m.C) ... skipped 'x'\ntest_d (m.C) ... ERROR\nrest\n"
    assert unittest_log(log, 1, []) == {
        "test_a (m.C)": "passed",
        "test_b (m.C)": "failed",
        "test_c (m.C)": "skipped",
        "test_d (m.C)": "error",
    }


def test_an_id_that_is_asked_as_newer_pythons_write_it_is_the_same_test() -> None:
    """As SWE-bench's lists have the ids of Django 5."""
    log = "test_a (m.C.test_a) ... ok\ntest_b (m.C) ... FAIL\n"
    asked = ("test_a (m.C.test_a)", "test_a (m.C)", "test_b (m.C.test_b)", "test_none (m.C.test_none)")
    found = unittest_log(log, 1, asked)
    assert [found.get(id) for id in asked] == ["passed", "passed", "failed", None]


def test_a_unittests_docstring_is_another_name_of_it_and_what_it_prints_comes_between() -> None:
    log = """test_a (m.C.test_a)
Says what it does ... ok
test_b (m.C.test_b) ... printed by the test
more ... of it
FAIL
test_c (m.C.test_c) ...
  test_c (m.C.test_c) [part] (n=1) ... ERROR
  test_c (m.C.test_c) [part] (n=2) ... ok
test_d (m.C.test_d)
Reads this ... skipped 'no reason'
ok
"""
    assert unittest_log(log, 1, []) == {
        "test_a (m.C)": "passed",
        "Says what it does": "passed",
        "test_b (m.C)": "failed",
        "test_c (m.C)": "error",
        "test_d (m.C)": "skipped",
        "Reads this": "skipped",
    }


def test_sympys_own_runner_is_read() -> None:
    log = "sympy/core/tests/test_eval.py[4] \ntest_a ok\ntest_b F\ntest_c E\ntest_d f\ntest_e s"
    log += "   [FAIL]\n\nsympy/test_b.py[1]\ntest_b ok      [OK]\ntest_f went ok\n"
    assert sympy_log(log, 1, []) == {
        "test_a": "passed",
        "test_b": "failed",
        "test_c": "error",
        "test_d": "passed",
        "test_e": "skipped",
    }


def test_an_id_that_was_cut_at_its_first_space_stands_for_all_that_begin_so() -> None:
    log = "=== short test summary info ===\nPASSED t.py::a[x 1]\nFAILED t.py::a[x 2] - no\nPASSED t.py::b[y z]\n"
    found = pytest_log(log, 1, ["t.py::a[x", "t.py::b[y", "t.py::c[x"])
    assert {id: found.get(id) for id in ("t.py::a[x", "t.py::b[y", "t.py::c[x")} == {
        "t.py::a[x": "failed",
        "t.py::b[y": "passed",
        "t.py::c[x": None,
    }


def test_a_skipped_test_does_not_take_a_cut_id_from_those_that_passed() -> None:
    found = {"t.py::a[x 1]": "skipped", "t.py::a[x 2]": "passed", "t.py::b[x 1]": "passed", "t.py::b[x 2]": "skipped"}
    found |= {"t.py::c[x 1]": "skipped", "t.py::c[x 2]": "failed", "t.py::c[x 3]": "passed", "t.py::d[x 1]": "skipped"}
    assert cut_ids(found, [f"t.py::{name}[x" for name in "abcd"]) == {
        "t.py::a[x": "passed",
        "t.py::b[x": "passed",
        "t.py::c[x": "failed",
        "t.py::d[x": "skipped",
    }


def test_a_plain_command_is_judged_by_its_exit_code() -> None:
    assert exit_code("", 0, ["build"]) == {"build": "passed"}
    assert exit_code("", 2, ["build"]) == {"build": "failed"}
    assert exit_code("", None, ["build"]) == {"build": "failed"}


def test_the_parser_follows_the_command() -> None:
    assert parser_for("PYTHONPATH=src python3 -m pytest -rA") is pytest_log
    assert parser_for("py.test") is pytest_log
    assert parser_for("python -m unittest -v") is unittest_log
    assert parser_for("./tests/runtests.py --verbosity 2") is unittest_log
    assert parser_for("bin/test -C --verbose") is sympy_log
    assert parser_for("make check") is exit_code
