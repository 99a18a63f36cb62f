"""Taking up the world that an attempt left behind when its worker died.

The journal tells whether that can be: after each turn it holds how the session stands, and before a turn's first tool
call that one is under way. A world whose last word is the latter may have changed in any way, and is not adopted: the
rollout is replayed in a fresh one.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from envs.adoption import Adopts, NotAdopted, Outlives
from envs.environment import Environment, Session
from envs.errors import TrajcError
from envs.score import Submission
from envs.task import Task
from envs.tool import ToolResult
from rollout.journal import Earlier
from rollout.packed import Turn
from rollout.record import Journal
from rollout.runs import Rollout
from rollout.starting import StartedBy
from rollout.trajectory import Mark

log = logging.getLogger(__name__)

ADOPT_SECONDS = 60.0
"""After its claim an attempt adopts within this time, or not at all."""
SPARE_SECONDS = 2 * ADOPT_SECONDS
"""For so long after its successor was claimed, a dead attempt's world is not removed by anybody else."""
WAIT_SECONDS = 900.0
"""For so long a dead attempt's world waits for a successor to be claimed."""


def spared(rollout: Rollout, attempt: int, now: float) -> bool:
    """Whether a world that this attempt made may still be in use, or be adopted. `rollout` with its attempts."""
    if rollout.state == "running":
        if rollout.attempt == attempt:
            return True
        return rollout.attempt > attempt and now - (rollout.claimed or 0.0) < SPARE_SECONDS
    if rollout.state == "queued" and rollout.attempt == attempt:
        return bool(rollout.attempts) and now - rollout.attempts[-1].ended < WAIT_SECONDS
    return False


async def take_up(
    environment: Environment, task: Task, owner: Mapping[str, str], earlier: Earlier, journal: Journal
) -> tuple["Watch", Mark | None]:
    """How this attempt comes to its session, and what the trajectory says of it: nothing where it begins."""
    turns = earlier.turns
    if not turns and earlier.former is None:
        return Watch(journal), None
    words = f"{len(turns)} turns were replayed"
    if isinstance(environment, Adopts) and isinstance(journal, SessionJournal):
        for turn in turns:  # at once: this attempt may be lost in the middle of it as well
            await journal.turn(turn)
        try:
            session = await adopted(environment, task, owner, earlier)
        except NotAdopted as e:
            words += f"; the session was not adopted: {e}"
        else:
            words = f"the session was adopted after {len(turns)} turns; none of its tool calls was made again"
            return Watch(journal, len(turns), turns, session), Mark(kind="adopted", words=words, at_call=len(turns))
        return Watch(journal, len(turns)), Mark(kind="resumed", words=words, at_call=len(turns)) if turns else None
    return Watch(journal), Mark(kind="resumed", words=words, at_call=len(turns)) if turns else None


async def adopted(environment: Adopts, task: Task, owner: Mapping[str, str], earlier: Earlier) -> Session:
    """The session that an earlier attempt left. Raises `NotAdopted`; what cannot be taken up is removed."""
    words = "a tool call was under way, or nothing was noted of it"
    try:
        async with asyncio.timeout(ADOPT_SECONDS):
            if earlier.standing is not None:
                return await environment.adopt(task, owner, earlier.standing)
    except TimeoutError:
        words = f"it took longer than {ADOPT_SECONDS:g} s"
    except (NotAdopted, TrajcError) as e:
        words = str(e)
    except Exception as e:
        log.exception("rollout %s: its former session could not be taken up", owner["rollout"])
        words = f"{type(e).__name__}: {e}"
    if earlier.former is not None:
        await environment.abandon(earlier.former)
    raise NotAdopted(words)


@runtime_checkable
class SessionJournal(Journal, Protocol):
    """A `Journal` that also keeps how the session stands."""

    def stands(self, standing: Mapping[str, Any]) -> None: ...

    def calling(self) -> None: ...


class Watch:
    """One attempt's session and its journal, which tells at every moment how the session stands.

    The first `known` turns are in the journal already. Of an adopted session the tool calls of `turns` are answered
    as they were, and only what is new is called.
    """

    def __init__(
        self, journal: Journal, known: int = 0, turns: tuple[Turn, ...] = (), session: Session | None = None
    ) -> None:
        self._journal = journal
        self._known = known
        self._adopted = session
        self._recorded = deque(step.result for turn in turns for step in turn.steps if not step.malformed)
        self._session: Session | None = None
        self._keeper: SessionJournal | None = None
        """The journal, where there is something to tell it of the session."""
        self._calling = False

    def around(self, environment: Environment) -> Environment:
        """The environment, whose session this watches."""

        async def start(task: Task, owner: Mapping[str, str]) -> Session:
            session = self._adopted or await environment.start(task, owner)
            if not isinstance(session, Outlives) or not isinstance(self._journal, SessionJournal):
                return session
            self._session, self._keeper = session, self._journal
            if self._adopted is not None or not self._known:  # a fresh one stands where the journal ends only later
                try:
                    self._note()
                except OSError:  # whoever asked for it has no session to close
                    await session.close()
                    raise
            return self

        return StartedBy(environment, start)

    async def turn(self, turn: Turn) -> None:
        """As a `Journal`."""
        if turn.index >= self._known:
            await self._journal.turn(turn)
        if self._keeper is not None and turn.index + 1 >= self._known:
            self._calling = False
            self._note()

    async def call(self, tool: str, arguments: Any) -> ToolResult:
        """As a `Session`."""
        if self._recorded:
            return self._recorded.popleft()
        if self._keeper is not None and not self._calling:
            self._calling = True
            self._keeper.calling()
        return await self._inner.call(tool, arguments)

    async def submission(self) -> Submission | None:
        return await self._inner.submission()

    async def close(self) -> None:
        await self._inner.close()

    @property
    def _inner(self) -> Session:
        assert self._session is not None, "a session is called after its start"
        return self._session

    def _note(self) -> None:
        if self._keeper is not None and isinstance(self._session, Outlives):
            standing = self._session.standing()
            if standing is not None:
                self._keeper.stands(standing)
