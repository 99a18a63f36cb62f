"""After a rollout: the pages of results that were listed and never visited, fetched outside the agent's clock."""

import asyncio
from collections import Counter
from collections.abc import Sequence

from envs.blobs import BlobStore
from envs.environment import Filled
from envs.evidence import Evidence
from envs.search.document import Document
from envs.search.web.fetch import FetchFailed
from envs.search.web.guard import Refused
from envs.search.web.pages import Pages

_AT_ONCE = 8
Fetched = tuple[Document, str]


async def fill(pieces: Sequence[Evidence], pages: Pages, blobs: BlobStore, most: int, seconds: float) -> Filled:
    """Each listed piece without a text gets its page's as `blob`, and when that was fetched as `version`; its coverage
    stays what the agent was shown. At most `most` pages in `seconds`; the words count what became of each page."""
    wanted = list(dict.fromkeys(piece.source for piece in pieces if _bare(piece)))
    if not wanted:
        return Filled(tuple(pieces), "")
    fetched: dict[str, Fetched] = {}
    left = Counter({"beyond the number of pages allowed": len(wanted[most:])})
    waiting = iter(wanted[:most])

    async def fetch() -> None:
        for url in waiting:
            try:
                fetched[url] = await pages.document(url)
            except (Refused, FetchFailed) as e:
                left[str(e)[:100]] += 1

    try:
        async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                group.create_task(fetch())
    except TimeoutError:
        left["not within the time allowed"] = len(wanted) - len(fetched) - left.total()
    filled = [await _filled(piece, fetched, blobs) for piece in pieces]
    reasons = "".join(f"; {count}: {why}" for why, count in left.most_common() if count)
    return Filled(
        tuple(filled), f"{len(fetched)} of {len(wanted)} listed pages were fetched after the rollout{reasons}"
    )


def _bare(piece: Evidence) -> bool:
    return piece.how == "listed" and piece.blob is None


async def _filled(piece: Evidence, fetched: dict[str, Fetched], blobs: BlobStore) -> Evidence:
    if not _bare(piece) or piece.source not in fetched:
        return piece
    document, when = fetched[piece.source]
    blob = await asyncio.to_thread(blobs.put, document.text.encode())
    return piece.model_copy(update={"blob": blob, "version": when})
