"""The recipe's part that asks for train and validation."""

from typing import Literal

from pydantic import Field

from compiler.part import Part


class Split(Part):
    """Train and validation share no repository (SWE), no database (SQL), and of search no document, question or group.

    Examples that share one hang together and stand on one side. Of such clusters, in seeded order, validation takes
    those that fit its share; where none does, the smallest, unless it is more than half. Where validation stays far
    below its share, a warning says so.
    """

    validation: float = Field(default=0.1, gt=0, lt=1)
    """Wanted share of each environment's examples."""
    documents: Literal["placed", "needed"] = "placed"
    """Search examples share a document that stands in both; `needed`: that both need. Distractors that many searches
    list can make one cluster of nearly everything, which is then train."""
