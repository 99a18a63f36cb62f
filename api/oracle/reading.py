"""Whether a compiled prompt holds what its answer follows from: for a teacher that may know nothing else.

An approximation by what a reference tells: a text answer stands in the prompt, with most of the names that the
question speaks of; each table of the gold query is there by name; each old text of the gold patch is there.
"""

from collections.abc import Callable, Mapping

from api.oracle.known import Known
from api.oracle.search_words import flat, names, stems
from api.oracle.sql import gold_in_duckdb, tables_of
from api.oracle.swe_patch import file_edits
from envs.search.world import SearchReference
from envs.sql.world import SqlReference
from envs.swe.world import SweReference

MOST_NAMES = 0.7


def holds_evidence(known: Known, prompt: str) -> bool:
    """The question itself is no evidence. False for an environment that nothing is known of."""
    rest = prompt.replace(known.task.question.strip(), " ", 1)
    holds = _HOLDS.get(known.task.environment)
    return holds is not None and holds(known, rest)


def _documents(known: Known, rest: str) -> bool:
    reference = SearchReference.model_validate(known.reference.data)
    text, there = flat(rest), stems(rest)
    named = stems(" ".join(names(known.task.question)))
    if named and len(named & there) < MOST_NAMES * len(named):
        return False
    judged = any(flat(answer).strip() in ("yes", "no") for answer in reference.answers)
    return bool(named and judged) or any(flat(answer) in text for answer in reference.answers)


def _tables(known: Known, rest: str) -> bool:
    gold = gold_in_duckdb(SqlReference.model_validate(known.reference.data).gold_sql, known.task.dialect)
    text = flat(rest)
    return all(flat(table) in text for table in tables_of(gold))


def _files(known: Known, rest: str) -> bool:
    edits = file_edits(SweReference.model_validate(known.reference.data).gold_patch)
    return all(hunk.old in rest for edit in edits for hunk in edit.hunks)


_HOLDS: Mapping[str, Callable[[Known, str], bool]] = {"search": _documents, "sql": _tables, "swe": _files}
