"""The question without any context, asked so that a model may say what it knows by heart."""

from compiler.example import AnswerKind, Example

WORDINGS: dict[AnswerKind, tuple[str, str]] = {
    "text": (
        "Answer the question from what you know. If you are not sure, give the answer that you think most likely.",
        "State only the result, as a short piece of text.",
    ),
    "patch": (
        "Resolve the issue from what you know of the repository, whose files you are not shown.",
        "Reply with one patch in the unified diff format of git, with paths from the root of the repository under a/ "
        "and b/.",
    ),
    "rows": (
        "Answer the question about a database from what you know of it; its tables are not shown.",
        "Reply with the rows of the result as one line of JSON: an array of rows, each row an array of values in the "
        "order in which they were asked for.",
    ),
}
"""What stands before and after the question, by the kind of answer."""


def closed_book_prompt(example: Example) -> str:
    before, after = WORDINGS[example.answer_kind]
    return f"{before}\n\nQuestion: {example.question}\n\n{after}"
