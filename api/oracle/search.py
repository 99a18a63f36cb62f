"""The search policy: searches made of the question's words, visits to what they list, an answer on evidence.

It decides what to search from the question alone, and what to open from titles, passages, ranks and the pages
it has read. The reference is used for two things only: to know when to stop (the gold documents, where known,
were all opened; else a page that was opened holds an answer), and what to answer then.
"""

from dataclasses import dataclass
from functools import lru_cache

from api.oracle.moves import Moment, Move, call, say
from api.oracle.near_miss import near_miss
from api.oracle.search_pages import Opened, listed, opened
from api.oracle.search_rank import ranked
from api.oracle.search_words import flat, queries, words
from envs.search.world import SearchReference

MOST_VISITS = 24
VISITS_A_ROUND = 3
WORTH_OPENING = 5.0
"""Score below which a document waits until every search was made."""
MOST_PAGES = 3
"""Pages read of one long document, where the gold documents are not known."""
NARROW, WIDE = 10, 50
"""Results asked for: at first, and later, when the tool may give fewer."""
LAST_DETOUR = 16


@dataclass(frozen=True)
class Round:
    """One search call."""

    queries: tuple[str, ...]
    top_k: int


def search_policy(moment: Moment) -> Move:
    reference = SearchReference.model_validate(moment.reference.data)
    searches, visits = moment.of("search"), moment.of("visit")
    read = opened(visits)
    question = moment.task.question
    if evidence_met(reference, read):
        return _answer(moment, reference, read)
    if moment.turn >= moment.task.limits.max_turns - 1 or len(visits) >= MOST_VISITS:
        return _unknown(read)
    if searches and (detour := _detour(moment)):
        return detour
    rounds = plan(question)
    made = {_asked(step.arguments.get("query"), step.arguments.get("top_k")) for step in searches}
    left = [r for r in rounds if r not in made]
    if not searches:
        return _search(left[0]) if left else _unknown(read)
    if not reference.gold_docs and (more := _next_page(read)):
        return more
    since = sum(step.turn > searches[-1].turn for step in visits)
    best = next(iter(ranked(question, listed(searches), read)), None)
    if best is not None and (not left or (since < VISITS_A_ROUND and best[0] >= WORTH_OPENING)):
        return call("visit", "This result seems to bear on the question.", id=best[1])
    return _search(left[0]) if left else _unknown(read)


@lru_cache(maxsize=4096)
def plan(question: str) -> tuple[Round, ...]:
    """Every search for a question: the likeliest with few results, then all with many."""
    every = queries(question)
    first = [Round(every[:1], NARROW), Round(every[1:5], NARROW)]
    wide = [Round(every[i : i + 5], WIDE) for i in range(0, len(every), 5)]
    return tuple(r for r in [*first, *wide] if r.queries)


def evidence_met(reference: SearchReference, read: list[Opened]) -> bool:
    if reference.gold_docs:
        return set(reference.gold_docs) <= {page.id for page in read}
    if all(flat(answer).strip() in ("yes", "no") for answer in reference.answers):
        return len({page.id for page in read}) >= 2
    return any(flat(answer) in flat(page.text) for answer in reference.answers for page in read)


def _search(r: Round) -> Move:
    query = r.queries[0] if len(r.queries) == 1 else list(r.queries)
    return call("search", f"I look for {', '.join(r.queries[:3])}.", query=query, top_k=r.top_k)


def _asked(query: object, top_k: object) -> Round | None:
    several = [query] if isinstance(query, str) else query
    if not isinstance(several, list) or not isinstance(top_k, int):
        return None
    return Round(tuple(map(str, several)), top_k)


def _next_page(read: list[Opened]) -> Move | None:
    if read and read[-1].page < min(read[-1].pages, MOST_PAGES):
        return call("visit", "The document goes on.", id=read[-1].id, page=read[-1].page + 1)
    return None


def _detour(moment: Moment) -> Move | None:
    """What is not needed, but done: a search for two words of the question, a visit to any listed document, a look
    for a word within a long one."""
    if moment.turn >= LAST_DETOUR or not moment.detour("search"):
        return None
    read = opened(moment.of("visit"))
    if read and read[-1].pages > 1 and "find" in moment.tools and moment.chance.happens(0.5, "find", moment.turn):
        word = moment.chance.pick(words(moment.task.question), "pattern", moment.turn)
        return call("find", "Where does it say so?", id=read[-1].id, pattern=word)
    others = sorted(listed(moment.of("search")).keys() - {page.id for page in read})
    if others and moment.chance.happens(0.5, "visit", moment.turn):
        return call("visit", "Perhaps this one.", id=moment.chance.pick(others, "other", moment.turn))
    counting = queries(moment.task.question)
    two = [moment.chance.pick(counting, "word", moment.turn, i).split()[-1] for i in range(2)]
    return call("search", "Perhaps other words help.", query=" ".join(two), top_k=NARROW)


def _answer(moment: Moment, reference: SearchReference, read: list[Opened]) -> Move:
    answer = reference.answers[0]
    if moment.wrong:
        others = [a for r in moment.others for a in SearchReference.model_validate(r.data).answers]
        answer = near_miss(reference.answers, [page.text for page in read], others, moment.chance)
    titles = list(dict.fromkeys(page.text.split("\n", 1)[0] for page in read))
    return say(f"I read {', '.join(titles[-3:])}.\nAnswer: {answer}", "I have met what the answer follows from.")


def _unknown(read: list[Opened]) -> Move:
    titles = ", ".join(dict.fromkeys(page.text.split("\n", 1)[0] for page in read))
    return say(f"I did not find the answer; I read: {titles or 'nothing'}.\nAnswer: unknown", "I have looked enough.")
