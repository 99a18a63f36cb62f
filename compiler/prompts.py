"""The words around the evidence, by environment, versioned. They tell the form of the answer and hold no answer."""

from typing import NamedTuple


class Template(NamedTuple):
    id: str
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


SEARCH = Template(
    "search@1",
    "Please reason over the following documents and answer the question. What you need is spread over several of "
    "them; others have nothing to do with it.",
    "Using the documents above, reply to the question that was asked ahead of them. State only the result, as a "
    "short piece of text.",
)
SWE = Template(
    "swe@1",
    "Please reason over the following source files of a repository and resolve the issue. Some of the files need "
    "a change; others are there because they were looked at.",
    "Using the files above, resolve the issue that was described ahead of them. Reply with one patch in the unified "
    "diff format of git, with paths from the root of the repository under a/ and b/, that applies to these files.",
)
SQL = Template(
    "sql@1",
    "Please reason over the following tables of a database and work out what is asked. Each table is given whole: "
    "a line with its columns and their types, then one JSON array for each row.",
    "Using the tables above, work out what was asked ahead of them. Reply with the rows of the result as one line of "
    "JSON: an array of rows, each row an array of values in the order in which they were asked for.",
)
TEMPLATES = {"search": SEARCH, "swe": SWE, "sql": SQL}
