"""Whether an answer is right, by rule: any of the reference's answers, as text, number, date, yes or no."""

from collections.abc import Sequence

from envs.score import Score
from envs.search.answer import extract_answer, is_no_answer
from envs.search.comparing import f1, normalised, same

SCORER = "search-match"
VERSION = "2"


def score_answer(text: str, answers: Sequence[str]) -> Score:
    """1 where the extracted answer equals one of `answers` (`envs.search.comparing.same`), else 0; never between.

    The words tell token F1 against the nearest of the answers.
    """
    answer = extract_answer(text)
    if matched := next((gold for gold in answers if same(answer, gold)), None):
        how = "as text" if normalised(answer) == normalised(matched) else "by value"
        return _score(1.0, "right", f"{_short(answer)!r} equals {matched!r} {how}")
    expected = " or ".join(repr(gold) for gold in answers)
    if is_no_answer(answer):
        return _score(0.0, "no_answer", f"no answer was given; expected {expected}")
    nearest = max(f1(answer, gold) for gold in answers)
    return _score(0.0, "wrong", f"{_short(answer)!r} is not {expected}; F1 {nearest:.2f}")


def _score(value: float, verdict: str, words: str) -> Score:
    return Score.model_validate(
        {"scorer": SCORER, "version": VERSION, "value": value, "verdict": verdict, "words": words}
    )


def _short(text: str) -> str:
    return text if len(text) <= 200 else text[:200] + "…"
