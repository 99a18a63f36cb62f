"""Issue texts from failing behaviour: what was expected and what came, and nothing of where the cause lies."""

import re
from collections.abc import Sequence

SHOWN_TESTS = 4
SHOWN_LINES = 10
SECTION = re.compile(r"^_{3,} (?:ERROR at \w+ of )?(.+?) _{3,}$", re.MULTILINE)
PLACE = re.compile(r"(?:[\w./-]+\.py)(?::\d+|\", line \d+)")
ADDRESS = re.compile(r"\b0x[0-9a-f]{6,}\b")
"""Of objects in memory: another in every run."""


def issue_text(package: str, failing: Sequence[str], log: str, command: str) -> str:
    """`log` is the run of pytest in which the tests of `failing` (ids) failed."""
    told = failure_words(log)
    lines = [
        f"Something in {package} no longer behaves as it did: "
        f"{len(failing)} {'check that' if len(failing) == 1 else 'checks that'} used to pass now "
        f"{'fails' if len(failing) == 1 else 'fail'}.",
        "",
    ]
    for id in failing[:SHOWN_TESTS]:
        lines.append(f"- `{id.rpartition('::')[2]}`")
        words = told.get(_section_name(id), [])
        if words:
            lines += ["", "      " + "\n      ".join(words[:SHOWN_LINES]), ""]
    if len(failing) > SHOWN_TESTS:
        rest = [f"`{id.rpartition('::')[2]}`" for id in failing[SHOWN_TESTS : SHOWN_TESTS + 12]]
        more = len(failing) - SHOWN_TESTS - len(rest)
        lines.append("- and " + ", ".join(rest) + (f" and {more} more" if more else ""))
    lines += ["", f"Find the cause in the source and mend it. Tests are run by `{command}`."]
    return "\n".join(lines)


def failure_words(log: str) -> dict[str, list[str]]:
    """The lines that pytest marks with E, for each failing test, without places in files."""
    parts = SECTION.split(log)
    found: dict[str, list[str]] = {}
    for name, body in zip(parts[1::2], parts[2::2], strict=True):
        words = [line[1:].strip() for line in body.splitlines() if re.match(r"E\s+\S", line)]
        kept = [ADDRESS.sub("0x...", PLACE.sub("...", word))[:300] for word in words]
        if kept:
            found.setdefault(name, kept)
    return found


def _section_name(id: str) -> str:
    """pytest heads a failure with the id's parts after the file, joined by dots."""
    return id.partition("::")[2].replace("::", ".")
