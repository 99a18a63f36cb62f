"""The answer in what an agent wrote last: after `Answer:`, in an <answer> tag, in \\boxed{}, or the whole text."""

import re

_THINKING = re.compile(r"<think>.*?(</think>|\Z)", re.DOTALL)
_LINE = re.compile(
    r"^[ \t>#*_-]*(?:(?:the|my)\s+)?(?:final\s+|exact\s+|short\s+)?answer[ \t*_]*[:：]"
    r"(?:(?:\*\*|__|\*|_)(?=\s|$))?[ \t]*",
    re.I | re.M,
)
_TAG = re.compile(r"<answer>", re.IGNORECASE)
_BOXED = re.compile(r"\\boxed\s*\{")
_LEAD = re.compile(r"^(?:the\s+)?(?:final\s+)?answer\s+is\s*:?\s+", re.IGNORECASE)
_WRAPPED = re.compile(r"^(?:\*\*(.+)\*\*|__(.+)__|\*(.+)\*|`(.+)`|\$(.+)\$|\"([^\"]+)\"|“([^”]+)”)$", re.DOTALL)
_MAX_WRAPPINGS = 8
_NONE = re.compile(
    r"(i (do not|don't|dont) know|unknown|not (known|found|available|sure)|unsure|n/?a|none|no answer|"
    r"(it )?(cannot|can't|could not) be (determined|found|answered)|insufficient (information|evidence))\W*",
    re.IGNORECASE,
)


def extract_answer(text: str) -> str:
    """The last marked answer, or the whole text where none is marked. Reasoning in <think> does not count."""
    text = without_thinking(text).strip()
    marks = [(m.start(), kind, m.end()) for kind in (_LINE, _TAG, _BOXED) for m in kind.finditer(text)]
    if marks:
        _, kind, end = max(marks, key=lambda mark: mark[0])
        text = _marked(kind, text[end:])
    return _unwrapped(text)


def without_thinking(text: str) -> str:
    """What a model wrote after its reasoning."""
    # Some chat templates open the reasoning themselves, so that only its end is in the text.
    return _THINKING.sub("", text).rpartition("</think>")[2]


def is_no_answer(answer: str) -> bool:
    """Whether the agent answered nothing, or said that it cannot."""
    return not answer or _NONE.fullmatch(answer) is not None


def _marked(kind: re.Pattern[str], rest: str) -> str:
    if kind is _TAG:
        return re.split(r"</answer>", rest, maxsplit=1, flags=re.IGNORECASE)[0]
    if kind is _BOXED:
        return rest[: _closing_brace(rest)]
    # A heading `Answer:` may stand on a line of its own, with the answer below.
    return re.split(r"</answer>", rest.lstrip("\r\n").split("\n", 1)[0], flags=re.IGNORECASE)[0]


def _closing_brace(text: str) -> int:
    depth = 1
    for at, c in enumerate(text):
        depth += {"{": 1, "}": -1}.get(c, 0)
        if depth == 0:
            return at
    return len(text)


def _unwrapped(text: str) -> str:
    for _ in range(_MAX_WRAPPINGS):
        before, text = text, _LEAD.sub("", text.strip())
        if m := _LINE.match(text):
            text = text[m.end() :]
        if m := _WRAPPED.match(text):
            text = next(g for g in m.groups() if g)
        if m := re.match(r"^\\text(?:bf|rm|it)?\{(.*)\}$", text, re.DOTALL):
            text = m.group(1)
        if text == before:
            break
    return text
