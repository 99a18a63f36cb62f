"""The search environment: questions answered from a fixed, versioned corpus."""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from pydantic import ValidationError

from envs.environment import Filled, Session, Site
from envs.errors import EnvironmentFailure, TaskError
from envs.evidence import Evidence
from envs.frozen import content_hash
from envs.score import Score, Submission
from envs.search.corpus import Corpus
from envs.search.document import CorpusError
from envs.search.endpoint import Endpoint
from envs.search.judge import PROMPT, Judge
from envs.search.library import LIVE_WEB, Library
from envs.search.ranking import Meaning
from envs.search.scoring import SCORER, VERSION, score_answer
from envs.search.session import SearchSession
from envs.search.settings import parse_settings
from envs.search.textblobs import TextBlobs
from envs.search.tools import TOOLS
from envs.search.vectors import Nearest, nearest
from envs.search.web.fill import fill
from envs.search.web.session import Web, WebSession
from envs.search.web.settings import WebSettings
from envs.search.world import SearchReference, SearchWorld
from envs.task import Reference, Task

SYSTEM_PROMPT = """\
You answer questions from a collection of documents that you reach through tools.

- search: list the documents that match a query. Use names and distinctive words; ask for one thing at a time.
- visit: read a listed document by its id. A passage in the results is only a part: read what you rely on.
- find: find words within one long document.

A question may need facts from several documents: find the first, then search for what it names.
When you know the answer, reply without a tool call and end with one line:
Answer: <the answer alone, as short as it can be: a name, a number, a date, yes or no>"""

_CORPORA_BY_MEANING = 4
"""Whose embeddings are held in memory at once."""


class SearchEnvironment:
    name = "search"
    tools = TOOLS
    system_prompt = SYSTEM_PROMPT
    takes_text = True

    def __init__(self, site: Site) -> None:
        self._settings = parse_settings(site.settings)
        self._library = Library(site)
        self._blobs = TextBlobs(site.blobs)
        self._bare = Site(site.root, site.blobs)
        """Without the settings, which may hold keys."""
        self._endpoint: Endpoint | None = None
        self._nearest: dict[tuple[str, str], Nearest] = {}
        self._web: Web | None = None
        self._threads = ThreadPoolExecutor(self._settings.threads, thread_name_prefix="search")

    @property
    def scorer(self) -> str:
        ruled, judge = f"{SCORER}@{VERSION}", self._settings.judge
        return ruled if judge is None else f"{ruled} {judge.model}@{content_hash(PROMPT)[:12]}"

    def prompt(self, task: Task) -> str:
        return task.question

    def pin(self, task: Task, reference: Reference | None) -> tuple[Task, Reference | None]:
        world = _world(task)
        if world.corpus == LIVE_WEB:
            self._web_settings()
            return task, reference and Reference(data=_reference(reference).model_dump(mode="json"))
        corpus = self._library.open(world.corpus, world.version)
        pinned = task.model_copy(
            update={"world": world.model_copy(update={"version": corpus.version}).model_dump(mode="json")}
        )
        if reference is None:
            return pinned, None
        known = _reference(reference)
        if missing := corpus.missing(known.gold_docs):
            raise TaskError(f"reference.gold_docs: corpus {corpus.name!r} holds no document {', '.join(missing[:5])}")
        return pinned, Reference(data=known.model_dump(mode="json"))

    async def start(self, task: Task, owner: Mapping[str, str]) -> Session:  # noqa: ARG002
        world = _world(task)
        try:
            if world.corpus == LIVE_WEB:
                return WebSession(self._open_web(), self._settings)
            corpus = self._library.open(world.corpus, world.version)
            meaning = await self._meaning_of(corpus)
        except CorpusError as e:
            raise EnvironmentFailure(f"this worker cannot search for task {task.id!r}: {e}") from e
        return SearchSession(corpus, self._blobs, self._settings, self._threads, meaning)

    async def score(self, task: Task, reference: Reference, submission: Submission) -> Score:
        """By rule; where the rules say wrong and a judge is set, by the judge."""
        answers = _reference(reference).answers
        ruled = await asyncio.to_thread(score_answer, submission.text, answers)  # an answer may be very long
        judge = self._settings.judge
        if ruled.verdict != "wrong" or judge is None:
            return ruled
        async with Endpoint(judge) as endpoint:
            return await Judge(endpoint.complete, judge.model).score(task.question, submission.text, answers)

    async def fill(self, pieces: Sequence[Evidence]) -> Filled:
        """With `web.fill_listed` set, the pages of live results that were listed and never visited."""
        web = self._settings.web
        if web is None or not web.fill_listed:
            return Filled(tuple(pieces), "")
        return await fill(pieces, self._open_web().pages, self._bare.blobs, web.fill_pages, web.fill_seconds)

    async def close(self) -> None:
        if self._web:
            await self._web.close()
        if self._endpoint:
            await self._endpoint.close()
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._blobs.close()
        self._library.close()

    async def _meaning_of(self, corpus: Corpus) -> Meaning | None:
        settings = self._settings.embeddings
        if self._settings.ranking == "words" or settings is None:
            return None
        key = (corpus.name, corpus.version)
        if key not in self._nearest:
            found = await asyncio.to_thread(nearest, self._bare, corpus, settings.model)
            self._nearest = {**dict(list(self._nearest.items())[1 - _CORPORA_BY_MEANING :]), key: found}
        if self._endpoint is None:
            self._endpoint = Endpoint(settings)
        return Meaning(self._nearest[key], self._endpoint, with_words=self._settings.ranking == "both")

    def _open_web(self) -> Web:
        if self._web is None:
            self._web = Web(self._bare.root / "web", self._web_settings(), self._bare.blobs)
        return self._web

    def _web_settings(self) -> WebSettings:
        if self._settings.web is None:
            raise CorpusError(
                f"corpus {LIVE_WEB!r} is the live web, which this service has no search API for: set `web`"
            )
        return self._settings.web


def _world(task: Task) -> SearchWorld:
    try:
        return SearchWorld.model_validate(task.world)
    except ValidationError as e:
        raise TaskError(_faults(e, "world")) from None


def _reference(reference: Reference) -> SearchReference:
    try:
        return SearchReference.model_validate(reference.data)
    except ValidationError as e:
        raise TaskError(_faults(e, "reference")) from None


def _faults(e: ValidationError, of: str) -> str:
    return "; ".join(f"{'.'.join([of, *map(str, f['loc'])])}: {f['msg']}" for f in e.errors())
