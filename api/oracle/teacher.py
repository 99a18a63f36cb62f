"""The oracle as teacher: it answers a compiled prompt, which offers no tools, with reasoning and the answer.

The form of the answer is what the environment's compiled prompt asks for: a short text, a patch, rows as JSON.
"""

import orjson

from api.oracle.moves import Moment, Move, say
from api.oracle.near_miss import near_miss
from api.oracle.refusal import Refusal
from api.oracle.swe_patch import misplaced
from envs.search.world import SearchReference
from envs.sql.world import SqlReference
from envs.swe.world import SweReference


def teach(moment: Moment) -> Move:
    """Raises `Refusal` where the reference holds no answer to give."""
    answer = _ANSWERS.get(moment.task.environment)
    if answer is None:
        raise Refusal(400, f"no teacher for the environment {moment.task.environment!r}; known: {', '.join(_ANSWERS)}")
    thought = (
        f"The question is: {moment.task.question.strip()[:300]} I go through the pieces and put together the answer."
    )
    return say(answer(moment), thought)


def cannot_tell() -> Move:
    """What a teacher says who does not find the answer in the prompt."""
    return say("unknown", "What I was given does not tell.")


def _text(moment: Moment) -> str:
    answers = SearchReference.model_validate(moment.reference.data).answers
    if not moment.wrong:
        return answers[0]
    others = [a for r in moment.others for a in SearchReference.model_validate(r.data).answers]
    return near_miss(answers, [moment.task.question], others, moment.chance)


def _rows(moment: Moment) -> str:
    reference = SqlReference.model_validate(moment.reference.data)
    if reference.rows is None:
        raise Refusal(400, f"task {moment.task.id!r} was not pinned: its reference has no rows to answer with")
    rows = [list(row) for row in reference.rows]
    if moment.wrong:
        rows = rows[:-1] if rows else [["unknown"]]
    return orjson.dumps(rows).decode()


def _patch(moment: Moment) -> str:
    patch = SweReference.model_validate(moment.reference.data).gold_patch
    if not moment.wrong:
        return patch
    return misplaced(patch)


_ANSWERS = {"search": _text, "sql": _rows, "swe": _patch}
