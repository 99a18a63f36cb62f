"""The words around the evidence, by environment, versioned. They tell the form of the answer and hold no answer.

Each has several wordings, chosen by the example's hash, so that no block of text stands in every example.
"""

from typing import NamedTuple


class Template(NamedTuple):
    id: str
    """`search@1.23`: environment, version, and which wordings."""
    instruction: str
    closing: str

    @property
    def head(self) -> tuple[str, str]:
        """What stands before and after the question, ahead of the pieces. Ends in a line feed."""
        return f"{self.instruction}\n\nQuestion: ", "\n\n"

    @property
    def text(self) -> str:
        """The template's own text, with nothing filled in."""
        before, after = self.head
        return before + after + self.closing


class Wordings(NamedTuple):
    """Every instruction goes with every closing."""

    name: str
    instructions: tuple[str, ...]
    closings: tuple[str, ...]

    def templates(self) -> tuple[Template, ...]:
        return tuple(
            Template(f"{self.name}.{i}{c}", instruction, closing)
            for i, instruction in enumerate(self.instructions, 1)
            for c, closing in enumerate(self.closings, 1)
        )


SEARCH = Wordings(
    "search@1",
    (
        "Please reason over the following documents and answer the question. What you need is spread over several of "
        "them; others have nothing to do with it.",
        "Below is a question, and then a collection of documents in no particular order. Reason over the following "
        "documents, find the ones that matter, and answer the question.",
        "Read the question first. The documents that come after it were gathered by somebody who looked into it; not "
        "all of them help. Reason over them to answer it.",
        "Answer the question by reasoning over the following documents. Put together what several of them say.",
    ),
    (
        "Using the documents above, reply to the question that was asked ahead of them. State only the result, as a "
        "short piece of text.",
        "Those were all the documents. Now answer the question from the beginning, briefly, with nothing but the "
        "answer itself.",
        "End of the documents. Go back to the question and give its answer as plain text, without a sentence around "
        "it.",
        "Now give the answer to the question that stands before the documents: a short text and no more.",
    ),
)
SWE = Wordings(
    "swe@1",
    (
        "Please reason over the following source files of a repository and resolve the issue. Some of the files need "
        "a change; others are there because they were looked at.",
        "Below is an issue that was reported for a repository, and then source files of it in no particular order. "
        "Work out what has to change.",
        "Read the issue first. The source files that come after it belong to one repository; not all of them have to "
        "do with it. Find the cause and mend it.",
        "Mend the issue by reasoning over the following source files, which are given whole, as they are now.",
    ),
    (
        "Using the files above, resolve the issue that was described ahead of them. Reply with one patch in the "
        "unified diff format of git, with paths from the root of the repository under a/ and b/, that applies to "
        "these files.",
        "Those were all the files. Reply with a unified diff as git writes it (paths from the repository's root under "
        "a/ and b/) that applies to them and resolves the issue.",
        "End of the files. Now write the patch that resolves the issue: one unified diff in git's format, with a/ and "
        "b/ before paths from the root of the repository.",
        "Now give the change as one unified diff that git can apply to the files as they stand above, with paths from "
        "the root of the repository under a/ and b/.",
    ),
)
SQL = Wordings(
    "sql@1",
    (
        "Please reason over the following tables of a database and work out what is asked. Each table is given whole: "
        "a line with its columns and their types, then one JSON array for each row.",
        "Below is a question about a database, and then tables of it in full: their columns with types, and each row "
        "as a JSON array. Work out the result by reading them.",
        "Read the question first. The tables that come after it are complete (columns with types, then the rows as "
        "JSON arrays). Find the rows that it asks for.",
        "Answer the question from the contents of the following tables. A line names the columns and their types; "
        "every line after it is one row, a JSON array.",
    ),
    (
        "Using the tables above, work out what was asked ahead of them. Reply with the rows of the result as one line "
        "of JSON: an array of rows, each row an array of values in the order in which they were asked for.",
        "Those were all the tables. Reply with one line of JSON, an array that holds an array of values for each row "
        "of the result, the values in the order in which the question names them.",
        "End of the tables. Give the result as JSON in one line: a list of rows, each a list of its values in the "
        "order in which they were asked for.",
        "Now give the result of the question before the tables as a JSON array of rows in one line; each row is an "
        "array of values in the order that was asked for.",
    ),
)
WORDINGS = {"search": SEARCH, "swe": SWE, "sql": SQL}
TEMPLATES = {name: wordings.templates() for name, wordings in WORDINGS.items()}
BY_ID = {template.id: template for templates in TEMPLATES.values() for template in templates}


def choose(environment: str, digest: str) -> Template:
    """By a hash, as hex digits: uniform over the wordings, and the same for the same example."""
    templates = TEMPLATES[environment]
    return templates[int(digest[:8], 16) % len(templates)]
