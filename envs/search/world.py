"""What a search task names, and what scores it."""

from typing import Annotated

from pydantic import Field

from envs.frozen import Frozen


class SearchWorld(Frozen):
    corpus: str = Field(min_length=1)
    """Name of an indexed corpus."""
    version: str | None = None
    """Content hash of the corpus version; None means the newest when the task is validated."""


class SearchReference(Frozen):
    answers: tuple[Annotated[str, Field(pattern=r"\S")], ...] = Field(min_length=1)
    """Any of these is right (answer and aliases). None is blank: an agent that says nothing would be right."""
    gold_docs: tuple[str, ...] = ()
    """Ids of the documents that the answer follows from, where known."""
