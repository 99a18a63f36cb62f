"""What the verifier says of an example that the recipe's audits should not have let pass."""

from typing import Any

import pytest

from compiler.recipe import Recipe
from compiler.recipe_asking import ClosedBook, Necessity, Shortcut
from compiler.verify_asked import asked_faults

RECIPE = Recipe(
    target="teacher", closed_book=ClosedBook(samples=2), shortcut=Shortcut(views=("top_piece",)), necessity=Necessity()
).told()
LABELS = (
    '{"closed_book": "not answered (0 of 2)", "shortcut": "not answered (0 of 1)", "teacher_pass_rate": "1 of 2", '
    '"necessity": "2 of 2 pieces necessary"}'
)


def asked(by: str, view: str, right: int, of: int = 1, source: str = "", cut: int = 0) -> dict[str, Any]:
    return {"by": by, "view": view, "source": source, "right": right, "of": of, "cut": cut}


def passing() -> dict[str, Any]:
    return {
        "labels": LABELS,
        "pieces": [
            {"role": "needed", "source": "a"},
            {"role": "distractor", "source": "x"},
            {"role": "needed", "source": "b"},
        ],
        "asked": [
            asked("closed_book", "nothing", 0, 2),
            asked("shortcut", "top_piece", 0),
            asked("teacher", "whole", 1, 2),
            asked("necessity", "whole", 1),
            asked("necessity", "without", 0, source="a"),
            asked("necessity", "without", 0, source="b"),
        ],
    }


def test_what_every_audit_let_pass_is_right() -> None:
    assert list(asked_faults(passing(), RECIPE)) == []
    assert list(asked_faults({**passing(), "asked": [], "labels": "{}"}, Recipe().told())) == []


@pytest.mark.parametrize(
    ("number", "change", "words"),
    [
        (0, {"right": 3}, "closed_book: 3 right and 0 cut off of 2 samples"),
        (0, {"right": 1, "cut": 2}, "closed_book: 1 right and 2 cut off of 2 samples"),
        (0, {"right": 1}, "closed_book: it is answered so and should have been dropped"),
        (1, {"right": 1}, "shortcut: it is answered so and should have been dropped"),
        (1, {"by": "other"}, "shortcut: what the label says was never asked"),
        (2, {"right": 0}, "its target is the teacher's, and no right sample of the teacher is recorded"),
        (4, {"source": "x"}, "necessity: it was not asked without each needed piece"),
        (4, {"right": 1}, "necessity: its label is not what was found, 1 of 2"),
    ],
)
def test_a_tally_that_does_not_fit_is_found(number: int, change: dict[str, Any], words: str) -> None:
    row = passing()
    row["asked"][number].update(change)
    assert next(asked_faults(row, RECIPE)) == words


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ("{}", "closed_book: it was not audited"),
        (LABELS.replace("not answered (0 of 2)", "failed"), "closed_book: the audit was not made"),
        (LABELS.replace("2 of 2 pieces necessary", "failed"), "necessity: the audit was not made"),
        (LABELS.replace('"necessity"', '"necessary"'), "necessity: it was not audited"),
    ],
)
def test_an_audit_that_was_not_made_is_found(labels: str, words: str) -> None:
    assert words in list(asked_faults({**passing(), "labels": labels}, RECIPE))


def test_an_audit_that_labels_lets_everything_pass() -> None:
    audits = {
        "closed_book": ClosedBook(action="label"),
        "shortcut": Shortcut(action="label"),
        "necessity": Necessity(action="label"),
    }
    row = passing()
    row["asked"] = [{**one, "right": one["of"]} for one in row["asked"]]
    row["labels"] = '{"closed_book": "answered (2 of 2)", "shortcut": "failed", "necessity": "0 of 2 pieces necessary"}'
    assert list(asked_faults(row, Recipe.model_validate(audits).told())) == []
