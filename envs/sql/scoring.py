"""The named scorers of SQL answers."""

import re
from collections.abc import Callable
from itertools import islice
from typing import Any

import orjson

from envs.errors import TaskError
from envs.frozen import canonical_json
from envs.score import Score, Submission
from envs.sql.cells import Table, unify, unify_rows
from envs.sql.compare import same_bag, same_in_order, same_set
from envs.sql.world import SqlReference

VERSION = "1"
Verdict = tuple[bool, str]
"""Whether it is right, and why not."""


def spider(reference: SqlReference, rows: Table) -> Verdict:
    """Bags of rows; the columns in any arrangement, the order of rows only where the gold query orders.

    After the test-suite execution match of Zhong, Yu and Klein, "Semantic Evaluation for Text-to-SQL with Distilled
    Test Suites" (EMNLP 2020), on the one database; numbers and types unified as `envs.sql.cells` says.
    """
    gold = _gold(reference)
    if fault := _shape(gold, rows, bags=True):
        return False, fault
    if not same_bag(gold, rows):
        return False, _difference(gold, rows)
    if reference.ordered and not same_in_order(gold, rows):
        return False, "the right rows in another order, where the question asks for an order"
    return True, ""


def bird(reference: SqlReference, rows: Table) -> Verdict:
    """Sets of rows, columns as they stand: execution accuracy of Li et al., "Can LLM Already Serve as A Database
    Interface?" (BIRD, NeurIPS 2023), numbers and types unified as `envs.sql.cells` says."""
    gold = _gold(reference)
    if fault := _shape(gold, rows, bags=False):
        return False, fault
    return (True, "") if same_set(gold, rows) else (False, _difference(gold, rows))


def values(reference: SqlReference, rows: Table) -> Verdict:
    """The bag of all cells: for answers given as values or text, where neither columns nor rows mean anything.
    Text is compared with letter case aside. Our own rule."""
    gold = sorted(map(_spoken, (cell for row in _gold(reference) for cell in row)), key=str)
    given = sorted(map(_spoken, (cell for row in rows for cell in row)), key=str)
    if same_bag([(cell,) for cell in gold], [(cell,) for cell in given]):
        return True, ""
    return False, f"expected the values {_brief(gold)}, got {_brief(given)}"


SCORERS: dict[str, Callable[[SqlReference, Table], Verdict]] = {"spider": spider, "bird": bird, "values": values}


def score_submission(reference: SqlReference, submission: Submission) -> Score:
    """Raises `TaskError` for an unknown scorer and for a reference whose gold rows were never materialised."""
    if reference.scorer not in SCORERS:
        raise TaskError(f"unknown SQL scorer {reference.scorer!r}; known: {', '.join(sorted(SCORERS))}")
    if reference.rows is None:
        raise TaskError("the reference holds no gold rows; validate the task, which runs its gold_sql")
    scorer = f"sql/{reference.scorer}"
    rows = submitted_rows(submission)
    if rows is None:
        return Score(scorer=scorer, version=VERSION, value=0.0, verdict="no_answer", words="no rows were handed in")
    right, words = SCORERS[reference.scorer](reference, unify_rows(rows))
    return Score(scorer=scorer, version=VERSION, value=float(right), verdict="right" if right else "wrong", words=words)


def submitted_rows(submission: Submission) -> list[tuple[Any, ...]] | None:
    """The submission's rows; a text is read as JSON rows, a JSON list of values, or values a line or between commas.
    None where nothing was handed in."""
    if submission.kind == "rows":
        return list(submission.rows)
    text = submission.text.strip()
    if not text:
        return None
    try:
        parsed = orjson.loads(text)
    except orjson.JSONDecodeError:
        parts = text.splitlines() if "\n" in text else re.split(r",\s+|;\s*", text)
        return [(part.strip(),) for part in parts if part.strip()]
    if not isinstance(parsed, list):
        return [(parsed,)]
    return [tuple(row) if isinstance(row, list) else (row,) for row in parsed]


def rows_text(rows: Any) -> str:
    """A result as an answer string: canonical JSON, one array a row."""
    return canonical_json([list(row) for row in rows]).decode()


def _gold(reference: SqlReference) -> Table:
    return unify_rows(reference.rows or ())


def _shape(gold: Table, rows: Table, bags: bool) -> str:
    if gold and rows and len(gold[0]) != len(rows[0]):
        return f"expected {len(gold[0])} columns, got {len(rows[0])}"
    if len({len(row) for row in rows}) > 1:
        return "rows of different lengths"
    if bags and len(gold) != len(rows):
        return f"expected {len(gold)} rows, got {len(rows)}"
    if bool(gold) != bool(rows):
        return f"expected {len(gold)} rows, got {len(rows)}"
    return ""


def _difference(gold: Table, rows: Table) -> str:
    wanted, offered = set(gold), set(rows)
    missing = list(islice((row for row in gold if row not in offered), 3))
    extra = list(islice((row for row in rows if row not in wanted), 3))
    return f"other rows than expected; missing such as {_brief(missing)}, not expected such as {_brief(extra)}"


def _brief(found: Any) -> str:
    text = str(found)
    return text if len(text) <= 300 else text[:300] + " ..."


def _spoken(cell: Any) -> Any:
    return cell.casefold() if isinstance(cell, str) else unify(cell)
