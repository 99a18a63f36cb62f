"""The verifier's look at what models made of an example: whether the recipe's audits let it pass, as it stands."""

import json
from collections.abc import Iterator
from typing import Any

Row = dict[str, Any]


def asked_faults(row: Row, recipe: Row) -> Iterator[str]:
    """`row`: a canonical example."""
    labels = json.loads(row["labels"])
    for one in row["asked"]:
        if not 0 <= one["right"] <= one["of"] or one["right"] + one["cut"] > one["of"] or one["of"] < 1:
            yield f"{one['by']}: {one['right']} right and {one['cut']} cut off of {one['of']} samples"
            return
    if recipe["target"] == "teacher":
        yield from _taught(_of(row, "teacher"), labels)
    for name in ("closed_book", "shortcut"):
        if audit := recipe.get(name):
            yield from _passed(name, audit, _of(row, name), labels.get(name))
    if audit := recipe.get("necessity"):
        yield from _necessary(audit, row, labels.get("necessity"))


def _of(row: Row, by: str) -> list[Row]:
    return [one for one in row["asked"] if one["by"] == by]


def _answered(one: Row, audit: Row) -> bool:
    return bool(one["right"] / one["of"] >= audit["threshold"])


def _taught(asked: list[Row], labels: Row) -> Iterator[str]:
    rates = [f"{one['right']} of {one['of']}" for one in asked if one["right"]]
    if rates != [labels.get("teacher_pass_rate")]:
        yield "its target is the teacher's, and no right sample of the teacher is recorded"


def _passed(name: str, audit: Row, asked: list[Row], label: str | None) -> Iterator[str]:
    if label is None:
        yield f"{name}: it was not audited"
    elif label == "failed" and audit["action"] != "label":
        yield f"{name}: the audit was not made"
    elif audit["action"] == "drop" and any(_answered(one, audit) for one in asked):
        yield f"{name}: it is answered so and should have been dropped"
    elif not asked and label not in ("failed", "no shorter view"):
        yield f"{name}: what the label says was never asked"


def _necessary(audit: Row, row: Row, label: str | None) -> Iterator[str]:
    asked = _of(row, "necessity")
    without = [one for one in asked if one["view"] == "without"]
    needed = sorted(piece["source"] for piece in row["pieces"] if piece["role"] == "needed")
    if label is None:
        yield "necessity: it was not audited"
    elif label == "failed" or label.startswith("inconclusive"):
        if label == "failed" and audit["action"] != "label":
            yield "necessity: the audit was not made"
    elif sorted(one["source"] for one in without) != needed:
        yield "necessity: it was not asked without each needed piece"
    else:
        necessary = sum(not _answered(one, audit) for one in without)
        least = len(needed) if audit["least"] is None else audit["least"]
        if label != f"{necessary} of {len(needed)} pieces necessary":
            yield f"necessity: its label is not what was found, {necessary} of {len(needed)}"
        if audit["action"] == "drop" and necessary < least:
            yield f"necessity: {necessary} necessary pieces, and the recipe asks for {least}"
