"""From whatever the agent typed to a ranked OR over index terms.

There is no query language: operators, brackets and field names are words like any other, so nothing that is
typed can be a syntax error. A phrase in double quotes ranks documents that hold it word for word higher.
"""

import re
from dataclasses import dataclass

from tantivy import Occur, Query, Schema

from envs.search.analysis import terms
from envs.search.document import clean

MAX_CHARACTERS = 10_000
MAX_TERMS = 64
"""A term costs the engine about as much as a short query; beyond this many, words add noise, not precision."""
MAX_PHRASES = 4

_QUOTED = re.compile(r'["“”„«»]([^"“”„«»]{3,300})["“”„«»]')


@dataclass(frozen=True)
class Words:
    """A query understood: distinct terms, phrases of at least two terms, and how many terms were left out."""

    terms: tuple[str, ...]
    phrases: tuple[tuple[str, ...], ...] = ()
    left_out: int = 0


def understand(text: str) -> Words:
    """Pure. Text beyond `MAX_CHARACTERS` counts as left out, estimated by its words."""
    head, tail = clean(text[:MAX_CHARACTERS]), text[MAX_CHARACTERS:]
    distinct = tuple(dict.fromkeys(terms(head)))
    phrases = (tuple(terms(m.group(1))) for m in _QUOTED.finditer(head))
    return Words(
        terms=distinct[:MAX_TERMS],
        phrases=tuple(p for p in phrases if 2 <= len(p) <= MAX_TERMS)[:MAX_PHRASES],
        left_out=max(0, len(distinct) - MAX_TERMS) + len(tail.split()),
    )


def compiled(words: Words, schema: Schema, field: str) -> Query | None:
    """The engine's query; None where there is no term to look for.

    Bare terms of one field are the shape that the engine can prune by block maxima; a boost would prevent it.
    """
    if not words.terms:
        return None
    clauses = [(Occur.Should, Query.term_query(schema, field, term)) for term in words.terms]
    clauses += [(Occur.Should, Query.phrase_query(schema, field, list(phrase))) for phrase in words.phrases]
    return Query.boolean_query(clauses)
