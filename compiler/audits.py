"""Audits of a single example that need no model. Each gives a label, or drops with a reason."""

import re

from compiler.drops import Dropped
from compiler.prompts import Template

SHORT = 3
"""Answers of this many characters or fewer (`yes`, `no`, `42`) occur in any text: they are judged by the
template's identity, which is one of a few fixed texts."""


def stands_in(answer: str, text: str) -> bool:
    """Whether the answer stands in the text as a whole token, letter case apart."""
    words = answer.strip()
    if not words or words.lower() not in text.lower():
        return False
    return re.search(rf"(?<!\w){re.escape(words)}(?!\w)", text, re.IGNORECASE) is not None


def template_leak(answer: str, template: Template) -> str:
    if len(answer.strip()) <= SHORT:
        return "judged by identity"
    if stands_in(answer, template.text):
        raise Dropped("template_holds_answer", f"the answer stands in the template {template.id}")
    return "none"


def question_label(answer: str, question: str) -> str:
    return "yes" if stands_in(answer, question) else "no"
