"""The tools of a search agent, under the names and shapes that search agents are trained on."""

from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, AliasChoices, BaseModel, ConfigDict, Field, model_validator

from envs.search.document import clean
from envs.tool import ToolSpec

_Text = Annotated[str, AfterValidator(clean)]
"""What a model wrote can hold half of a surrogate pair, which no blob and no index can."""

_DocumentId = Annotated[
    _Text,
    AfterValidator(str.strip),
    Field(
        description="The document's id (or URL) exactly as `search` listed it.",
        validation_alias=AliasChoices("id", "url", "docid"),
    ),
]


class Asked(NamedTuple):
    """A search within the operator's bounds."""

    queries: list[str]
    top_k: int
    notes: list[str]
    """What was cut, in words."""


class _Arguments(BaseModel):
    """As models write them: an id or a word of digits as a number, null for what is left out."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, given: Any) -> Any:
        return {name: value for name, value in given.items() if value is not None} if isinstance(given, dict) else given


class Search(_Arguments):
    query: _Text | list[_Text] = Field(description="What to look for, in a few words; or several queries at once.")
    top_k: int = Field(default=5, ge=1, description="How many results to list for each query.")

    def within(self, max_queries: int, max_top_k: int) -> Asked:
        queries = [self.query] if isinstance(self.query, str) else self.query
        notes = []
        if self.top_k > max_top_k:
            notes.append(f"top_k was {self.top_k}; at most {max_top_k} results are listed for a query")
        if len(queries) > max_queries:
            notes.append(f"{len(queries)} queries were sent; only the first {max_queries} are answered")
        return Asked(queries[:max_queries], min(self.top_k, max_top_k), notes)


class Visit(_Arguments):
    id: _DocumentId
    page: int = Field(default=1, description="Which page of a long document to read; the first is 1.")


class Find(_Arguments):
    id: _DocumentId
    pattern: _Text = Field(description="Words to find in the document, as plain text; case does not matter.")


SEARCH = ToolSpec(
    "search", "Search the document collection. Lists the best documents with id, title and a passage.", Search
)
VISIT = ToolSpec("visit", "Read a document that a search listed, page by page if it is long.", Visit)
FIND = ToolSpec("find", "Find where words occur within one document.", Find)

TOOLS = (SEARCH, VISIT, FIND)
