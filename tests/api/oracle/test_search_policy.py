"""The search policy as a pure function: what it searches, opens and answers, given what the tools showed."""

import re
from dataclasses import replace
from typing import Any

import pytest

from api.oracle.chance import Chance
from api.oracle.moves import Call, Moment, Move, Step
from api.oracle.near_miss import near_miss
from api.oracle.search import NARROW, plan, search_policy
from api.oracle.search_words import names, queries, stems
from envs.task import Limits, Reference, Task

QUESTION = "Which sea does the river Aldra, rising near Mount Sel, flow into?"
RESULTS = """\
Results for: Which sea does the river Aldra, rising near Mount Sel, flow into?
[1] Aldra (river)
    id: d1  score: 9.1000
    The Aldra is a river that rises near Mount Sel…
[2] Potato
    id: d2  score: 1.2000  url: http://example.org/potato
    The potato is a plant. It does not flow.
[3] Gulf of Marn
    id: d3  score: 1.1000
    A part of the Sea of Marn."""
ALDRA = "Aldra (river)\nid: d1\n\nThe Aldra rises near Mount Sel and ends in the Gulf of Marn."
MARN = "Gulf of Marn\nid: d3\n\nThe Gulf of Marn is a part of the Sea of Marn."


def moment(
    *steps: Step, gold: tuple[str, ...] = ("d1", "d3"), answers: tuple[str, ...] = ("Sea of Marn",), **more: Any
) -> Moment:
    return Moment(
        task=Task(id="aldra", environment="search", question=QUESTION, limits=Limits(max_turns=30)),
        reference=Reference(data={"answers": answers, "gold_docs": gold}),
        steps=steps,
        turn=more.pop("turn", len(steps)),
        chance=Chance(("0", "aldra")),
        **more,
    )


def search(turn: int, text: str = RESULTS, query: Any = QUESTION, top_k: int = NARROW) -> Step:
    return Step("search", {"query": query, "top_k": top_k}, text, turn)


def visit(turn: int, id: str, text: str, **more: Any) -> Step:
    return Step("visit", {"id": id, **more}, text, turn)


def only(move: Move) -> Call:
    (call,) = move.calls
    return call


def test_every_query_is_made_of_the_questions_own_words() -> None:
    mine = stems(QUESTION)
    assert all(stems(query) <= mine for r in plan(QUESTION) for query in r.queries)
    assert queries(QUESTION)[:3] == (QUESTION, "Aldra", "Mount Sel")


def test_names_lose_their_question_word() -> None:
    assert names('What did "The Band" of New York play?') == ["Band", "New York"]


def test_it_first_searches_for_the_question() -> None:
    assert only(search_policy(moment())) == Call("search", {"query": QUESTION, "top_k": 10})


def test_it_opens_what_bears_on_the_question() -> None:
    assert only(search_policy(moment(search(0)))) == Call("visit", {"id": "d1"})


def test_what_a_page_names_is_opened_next() -> None:
    assert only(search_policy(moment(search(0), visit(1, "d1", ALDRA)))) == Call("visit", {"id": "d3"})


def test_what_it_opens_does_not_depend_on_the_reference() -> None:
    for gold in [("d2",), ("d3",), ("elsewhere",)]:
        assert only(search_policy(moment(search(0), gold=gold))) == Call("visit", {"id": "d1"})


def test_it_answers_when_the_gold_documents_were_opened() -> None:
    seen = (search(0), visit(1, "d1", ALDRA), visit(2, "d3", MARN))
    assert search_policy(moment(*seen)).text == "I read Aldra (river), Gulf of Marn.\nAnswer: Sea of Marn"


def test_where_gold_is_unknown_it_answers_when_a_page_holds_the_answer() -> None:
    assert search_policy(moment(search(0), visit(1, "d1", ALDRA), gold=())).text is None
    seen = (search(0), visit(1, "d1", ALDRA), visit(2, "d3", MARN))
    text = search_policy(moment(*seen, gold=())).text
    assert text is not None
    assert text.endswith("Answer: Sea of Marn")


def test_where_gold_is_unknown_it_reads_on_in_a_long_document() -> None:
    first = "Aldra (river)\nid: d1  page 1 of 9 (characters 0 to 10 of 90)\n\nThe Aldra"
    move = search_policy(moment(search(0), visit(1, "d1", first), gold=()))
    assert only(move) == Call("visit", {"id": "d1", "page": 2})


def test_a_refused_visit_is_no_evidence() -> None:
    refused = visit(1, "d3", "There is no document 'd3'. Use an id exactly as `search` listed it")
    assert search_policy(moment(search(0), visit(1, "d1", ALDRA), refused)).text is None


def test_without_the_evidence_it_does_not_answer() -> None:
    step = search(0, "Results for: x\nNo results. Try other or fewer words.")
    steps = [step]
    for turn in range(1, 29):
        call = only(search_policy(moment(*steps))) if (move := search_policy(moment(*steps))).calls else None
        if call is None:
            break
        steps.append(Step(call.name, dict(call.arguments), step.text, turn))  # type: ignore[arg-type]
    assert move.text == "I did not find the answer; I read: nothing.\nAnswer: unknown"


def test_it_gives_up_at_its_last_turn() -> None:
    assert search_policy(moment(search(0), turn=29)).text is not None


def test_a_malformed_search_is_made_again() -> None:
    refused = Step("search", {}, "search: the arguments must be a JSON object, not list", 0)
    assert only(search_policy(moment(refused))) == Call("search", {"query": QUESTION, "top_k": 10})


def test_detours_end() -> None:
    strayed = search_policy(moment(search(0), detours=1.0))
    assert only(strayed) != Call("visit", {"id": "d1"})
    assert only(search_policy(moment(search(0), detours=1.0, turn=16))) == Call("visit", {"id": "d1"})


def test_a_detour_may_look_within_a_long_document() -> None:
    long = "Aldra (river)\nid: d1  page 1 of 9 (characters 0 to 10 of 90)\n\nThe Aldra"
    seen = (search(0), visit(1, "d1", long))
    strayed = [search_policy(moment(*seen, detours=1.0, tools={"find": {}}, turn=turn)) for turn in range(2, 12)]
    assert "find" in {only(move).name for move in strayed}


def test_a_question_without_a_word_that_counts_is_given_up() -> None:
    move = search_policy(replace(moment(), task=Task(id="a", environment="search", question="Who is it?")))
    assert move.text == "I did not find the answer; I read: nothing.\nAnswer: unknown"


def test_a_wrong_sample_answers_with_another_name_that_it_read() -> None:
    seen = (search(0), visit(1, "d1", ALDRA), visit(2, "d3", MARN))
    text = search_policy(moment(*seen, wrong=True)).text
    assert text is not None
    assert text.splitlines()[-1] == "Answer: Mount Sel"


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("yes", "no"),
        ("No.", "yes"),
        ("8 June 1951", r"8 June 19\d\d"),
        ("6,960", r"6,9\d\d"),
        ("6.21 GhL", r"\d+\.21 GhL"),
    ],
)
def test_a_near_miss_is_of_the_same_kind(right: str, wrong: str) -> None:
    for seed in range(20):
        miss = near_miss([right], [], [], Chance((str(seed),)))
        assert re.fullmatch(wrong, miss)
        assert miss != right


def test_a_near_miss_shares_no_word_with_any_right_answer() -> None:
    texts, others = ["Mary Stanley met Edward Stafford."], ["Mary", "Paris"]
    assert near_miss(["Mary Stanley", "Edward"], texts, others, Chance(("0",))) == "Paris"
    assert near_miss(["Mary Stanley"], texts, [], Chance(("0",))) == "Edward Stafford"
