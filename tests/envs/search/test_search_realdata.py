"""On HotpotQA: what the index finds beside bm25s, and whether the scorer can say no."""

import os
from pathlib import Path
from typing import Any

import bm25s
import orjson
import pytest

from envs.blobs import MemoryBlobs
from envs.environment import Site
from envs.search.comparing import normalised
from envs.search.dates import parse_date
from envs.search.environment import SearchEnvironment
from envs.search.indexing import index_corpus
from envs.search.library import Library
from envs.search.quantities import parse_quantity
from envs.search.query import understand
from envs.search.scoring import score_answer
from envs.task import Reference, Task

pytestmark = pytest.mark.needs("realdata")


def rows(name: str) -> list[dict[str, Any]]:
    path = Path(os.environ["TRAJC_REALDATA"]) / "search" / name
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    site = Site(tmp_path_factory.mktemp("realdata"), MemoryBlobs())
    made = index_corpus(Path(os.environ["TRAJC_REALDATA"]) / "search" / "corpus.jsonl", "hotpot", site)
    assert made.added == 7112
    return site


def recall(found: list[set[str]], questions: list[dict[str, Any]]) -> float:
    gold = [set(q["gold_docs"]) for q in questions]
    return sum(len(g & f) for g, f in zip(gold, found, strict=True)) / sum(map(len, gold))


def test_gold_documents_are_found_as_often_as_by_bm25s(site: Site) -> None:
    documents, questions = rows("corpus.jsonl"), rows("questions.jsonl")
    corpus = Library(site).open("hotpot")
    ours = [{hit.document.id for hit in corpus.search(understand(q["question"]), 10)} for q in questions]

    texts = [f"{d['title']}\n{d['text']}" for d in documents]
    retriever = bm25s.BM25()
    retriever.index(bm25s.tokenize(texts, stopwords="en", show_progress=False), show_progress=False)
    queries = bm25s.tokenize([q["question"] for q in questions], stopwords="en", show_progress=False)
    ranked, _ = retriever.retrieve(queries, k=10, show_progress=False)
    theirs = [{documents[n]["id"] for n in row} for row in ranked]

    mine, other = recall(ours, questions), recall(theirs, questions)
    print(f"gold documents in the first ten: ours {mine:.3f}, bm25s {other:.3f}")
    assert mine >= other - 0.02


def test_every_question_can_be_pinned_and_its_own_answer_is_right(site: Site) -> None:
    environment = SearchEnvironment(site)
    wrong = []
    for q in rows("questions.jsonl"):
        task = Task(id=q["id"], environment="search", question=q["question"], world={"corpus": "hotpot"})
        environment.pin(task, Reference(data={"answers": q["answers"], "gold_docs": q["gold_docs"]}))
        if not score_answer(f"I read both.\n\nAnswer: {q['answers'][0]}", q["answers"]).right:
            wrong.append((q["id"], q["answers"]))
    assert wrong == []


def kind(answer: str) -> str:
    if normalised(answer) in ("yes", "no"):
        return "yes or no"
    if parse_date(answer):
        return "date"
    return "number" if parse_quantity(answer) else "name"


def test_another_questions_answer_of_the_same_kind_scores_nothing() -> None:
    """Not one near miss for each question but every one that the others offer."""
    questions = rows("questions.jsonl")
    answers = sorted({q["answers"][0] for q in questions})
    accepted, tried = [], 0
    for q in questions:
        gold = q["answers"][0]
        for other in answers:
            if kind(other) == kind(gold) and normalised(other) != normalised(gold):
                tried += 1
                if score_answer(f"Answer: {other}", q["answers"]).value > 0:
                    accepted.append((gold, other))
    print(f"near misses: {tried}, accepted: {accepted}")
    assert tried > 3000
    assert len(accepted) <= tried * 0.01
