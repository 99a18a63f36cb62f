"""A unified diff tells which files it needs and which old lines."""

from compiler.patches import FilePatch, Hunk, old_paths, parse_patch

GIT = """\
diff --git a/a.py b/a.py
index 1..2 100644
--- a/a.py
+++ b/a.py
@@ -1,3 +1,2 @@ def f
 one
-two
--- three
+-- drei
@@ -9 +8,2 @@
 nine
+ten
\\ No newline at end of file
diff --git a/new.py b/new.py
new file mode 100644
--- /dev/null
+++ b/new.py
@@ -0,0 +1 @@
+x
diff --git a/gone.py b/gone.py
deleted file mode 100644
--- a/gone.py
+++ /dev/null
@@ -1 +0,0 @@
-x
diff --git a/old name.py b/newer name.py
similarity index 100%
rename from old name.py
rename to newer name.py
diff --git "a/\\303\\251.py" "b/\\303\\251.py"
--- "a/\\303\\251.py"
+++ "b/\\303\\251.py"
@@ -1 +1 @@
-x
+y
"""


def test_git_diffs_are_read() -> None:
    assert parse_patch(GIT) == (
        FilePatch("a.py", "a.py", (Hunk(1, ("one", "two", "-- three")), Hunk(9, ("nine",)))),
        FilePatch(None, "new.py", (Hunk(0, ()),)),
        FilePatch("gone.py", None, (Hunk(1, ("x",)),)),
        FilePatch("old name.py", "newer name.py", ()),
        FilePatch("é.py", "é.py", (Hunk(1, ("x",)),)),
    )
    assert old_paths(parse_patch(GIT)) == ("a.py", "gone.py", "old name.py", "é.py")


def test_plain_diffs_are_read() -> None:
    first = "--- a/x.py\t2020-01-01\n+++ b/x.py\t2020-01-02\n@@ -1 +1 @@\n-a\n+b\n"
    plain = first + "--- a/y.py\n+++ b/y.py\n@@ -2 +2 @@\n-c\n+d\n"
    assert old_paths(parse_patch(plain)) == ("x.py", "y.py")


def test_words_are_no_patch() -> None:
    assert parse_patch("I would change the file.\n--- really\n") == ()
