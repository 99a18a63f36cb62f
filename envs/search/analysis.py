"""How text becomes index terms, for documents and queries alike.

Words are runs of letters and digits, lower-cased, folded to ASCII where they have accents, and stemmed as
English. Scripts written without spaces are cut into single characters, so that they can be found at all.
"""

import re
import threading
import unicodedata
from functools import lru_cache

from tantivy import Filter, TextAnalyzer, TextAnalyzerBuilder, Tokenizer

ANALYSIS = "words-en-1"
"""Names these rules in manifests and versions. A change of the rules is a new name, and so a new index."""

MAX_TERM_BYTES = 60

SPACELESS = re.compile(r"([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff])")
_local = threading.local()


def new_analyzer() -> TextAnalyzer:
    return (
        TextAnalyzerBuilder(Tokenizer.simple())
        .filter(Filter.remove_long(MAX_TERM_BYTES))
        .filter(Filter.lowercase())
        .filter(Filter.ascii_fold())
        .filter(Filter.stemmer("english"))
        .build()
    )


def analyzer() -> TextAnalyzer:
    """This thread's own: an analyzer is changed while it works, so threads cannot share one."""
    found: TextAnalyzer | None = getattr(_local, "analyzer", None)
    if found is None:
        found = _local.analyzer = new_analyzer()
    return found


def spaced(text: str) -> str:
    """What is handed to the analyzer: composed characters, spaceless scripts cut apart."""
    if text.isascii():
        return text
    return SPACELESS.sub(r" \1 ", unicodedata.normalize("NFKC", text))


def terms(text: str) -> list[str]:
    """The index terms of a text, in order, repeats kept."""
    found: list[str] = analyzer().analyze(spaced(text))
    return found


@lru_cache(maxsize=50_000)
def term_of(word: str) -> str | None:
    """The index term of a single word; None where it has none or several."""
    found = terms(word) if len(word) <= MAX_TERM_BYTES else []
    return found[0] if len(found) == 1 else None
