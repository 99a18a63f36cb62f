"""A model's reply as an answer that a scorer can judge."""

import orjson

from compiler.example import AnswerKind
from compiler.transforms import restore
from envs.frozen import canonical_json
from envs.score import Submission


def answer_of(content: str, kind: AnswerKind) -> Submission | None:
    """The reply as a submission; None where it does not have the form that the prompt asks for."""
    text = restore(stripped(_patch_of(content) if kind == "patch" else _unfenced(content), kind))
    if not text.strip():
        return None
    if kind == "patch":
        return Submission(kind="patch", text=text + "\n")
    if kind == "text":
        return Submission(kind="text", text=text)
    try:
        rows = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        return None
    try:
        text = canonical_json(rows).decode()
    except TypeError:  # nested more deeply than can be written
        return None
    return Submission(kind="rows", text=text, rows=tuple(map(tuple, rows)))


def stripped(text: str, kind: AnswerKind) -> str:
    """Without blanks around it; the last line of a patch may be one that counts."""
    return text.lstrip().rstrip("\n") if kind == "patch" else text.strip()


def _unfenced(text: str) -> str:
    """What stands in the last fenced block, where there is one."""
    parts = text.split("```")
    return parts[-2].partition("\n")[2] if len(parts) >= 3 else text


def _patch_of(text: str) -> str:
    """Likewise. Lines of a patch can hold fences, and never begin with one."""
    lines = text.split("\n")
    fences = [i for i, line in enumerate(lines) if line.startswith("```")]
    if len(fences) == 1 and text.rstrip().endswith("```") and fences[0] < len(lines) - 1:
        return "\n".join(lines[fences[0] + 1 :]).rstrip().removesuffix("```")
    return "\n".join(lines[fences[-2] + 1 : fences[-1]]) if len(fences) >= 2 else text
