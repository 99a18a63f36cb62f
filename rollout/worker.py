"""One rollout's work: from its claim to a scored trajectory, or to words about what broke.

The agent loop is `rollout.loop`; what a rollout is handed and what becomes of its result is decided here.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from envs.environment import Environment
from envs.errors import EnvironmentFailure, SandboxError, TrajcError, boundary
from envs.score import Score
from rollout.admission import Admission
from rollout.adoption import take_up
from rollout.database import NotFound
from rollout.engine import Broken, Done, Outcome, Stopped
from rollout.filling import filled
from rollout.ids import trajectory_id
from rollout.journal import Earlier, FolderJournals
from rollout.loop import run_agent
from rollout.model import Model
from rollout.patience import patiently
from rollout.record import Identity, NoJournal, Record
from rollout.replay import Diverged, ReplayedJournal, ReplayedModel
from rollout.runs import Claim, Work
from rollout.store import Store
from rollout.together import Together
from rollout.trajectory import Mark, Trajectory

log = logging.getLogger(__name__)

SCORING_ATTEMPTS = 3
"""A sandbox that breaks while it scores costs a new one, not the whole rollout again."""


class RolloutHandler:
    """`models` gives the model that the work's run names; whoever made it closes what it shares."""

    def __init__(
        self,
        store: Store,
        environments: Mapping[str, Environment],
        models: Callable[[Work], Model],
        *,
        service: str = "trajc",
        admission: Admission | None = None,
        journals: FolderJournals | None = None,
    ) -> None:
        self.store = store
        self.environments = environments
        self.models = models
        self.service = service
        self.admission = admission or Admission()
        self.journals = journals
        self._work: Together[str, Work] = Together(store.works)

    async def __call__(self, claim: Claim) -> Outcome:
        work = await patiently(lambda: self._work(claim.job), claim.job)
        environment = self.environments.get(work.task.environment)
        if environment is None:
            known = ", ".join(sorted(self.environments)) or "none"
            words = f"this worker has no environment {work.task.environment!r}; it has: {known}"
            return Broken("environment_error", words, permanent=True)
        earlier = await asyncio.to_thread(self.earlier, claim) if claim.attempt > 1 else Earlier()
        while True:
            record = Record(work.task, identity(claim, work), work.spec.model, marks=earlier.marks)
            try:
                trajectory = await self.play(claim, work, environment, record, earlier)
            except asyncio.CancelledError:
                return Stopped(record.freeze())
            except TrajcError as e:
                return Broken(e.failure, str(e), record.freeze(failure=e.failure, error=str(e)), permanent=e.permanent)
            except Diverged as e:
                words = f"{e}; {len(earlier.turns)} model calls were paid again"
                anew = Mark(kind="restarted", words=words, at_call=e.turn)
                earlier = Earlier(marks=(*earlier.marks, anew))
                await asyncio.to_thread(self.forget, claim.job, claim.attempt)
            except Exception as e:  # a journal that cannot be written, a fault of ours: what there is of it is kept
                log.exception("%s attempt %d broke", claim.job, claim.attempt)
                words = f"{type(e).__name__}: {e}"
                return Broken("environment_error", words, record.freeze(failure="environment_error", error=words))
            else:
                return await self.scored(environment, trajectory, work)

    async def play(
        self, claim: Claim, work: Work, environment: Environment, record: Record, earlier: Earlier
    ) -> Trajectory:
        """Run the agent, from the recorded turns on: in the session that was left, or else in a fresh one.

        Raises `Diverged` where they cannot be repeated in that.
        """
        turns, model, owner = earlier.turns, self.models(work), self.owner(claim)
        journal = None if self.journals is None else self.journals.open(claim.job, claim.attempt, record.marks)
        try:
            watch, mark = await take_up(environment, work.task, owner, earlier, journal or NoJournal())
            record.marks += () if mark is None else (mark,)
            return await run_agent(
                record,
                watch.around(self.admission.to(environment)),
                ReplayedModel(model, turns) if turns else model,
                sampling=sampling_of(claim, work),
                owner=owner,
                journal=ReplayedJournal(watch, turns),
            )
        finally:
            if journal is not None:
                journal.close()

    def earlier(self, claim: Claim) -> Earlier:
        return Earlier() if self.journals is None else self.journals.earlier(claim.job, claim.attempt)

    def forget(self, rollout: str, attempt: int) -> None:
        if self.journals is not None:
            self.journals.forget(rollout, attempt)

    def sweep(self) -> None:
        """Remove the journals of rollouts that have ended; those of failed ones stay, for a retry to go on from."""
        for rollout, attempt in ({} if self.journals is None else self.journals.rollouts()).items():
            try:
                ended = self.store.rollout(rollout).state in ("succeeded", "cancelled")
            except NotFound:
                ended = True
            if ended:
                self.forget(rollout, attempt)

    async def scored(self, environment: Environment, trajectory: Trajectory, work: Work) -> Outcome:
        try:
            trajectory = await filled(environment, trajectory)
        except asyncio.CancelledError:
            return Stopped(trajectory)
        done = partial(self.forget, trajectory.rollout, trajectory.attempt)
        if work.reference is None:
            return Done(trajectory, then=done)
        if trajectory.submission is None:
            words = f"nothing was handed in ({trajectory.stop})"
            score = Score(scorer="trajc", version="1", value=0.0, verdict="no_answer", words=words)
            return Done(trajectory, score, then=done)
        for left in reversed(range(SCORING_ATTEMPTS)):
            try:
                async with self.admission.scoring:
                    with boundary(EnvironmentFailure, environment.name):
                        score = await environment.score(work.task, work.reference, trajectory.submission)
                return Done(trajectory, score, then=done)
            except asyncio.CancelledError:
                return Stopped(trajectory)
            except TrajcError as e:
                if not left or not isinstance(e, SandboxError):
                    return Broken(e.failure, f"scoring: {e}", trajectory)
        raise AssertionError("the last attempt returned")

    def owner(self, claim: Claim) -> dict[str, str]:
        return {
            "service": self.service,
            "run": claim.run or "",
            "rollout": claim.job,
            "attempt": str(claim.attempt),
        }


def sampling_of(claim: Claim, work: Work) -> dict[str, Any]:
    """The run's sampling parameters. A seed is the first sample's: equal ones would give equal samples."""
    wanted = work.spec.sampling
    return {**wanted, "seed": wanted["seed"] + claim.sample} if isinstance(wanted.get("seed"), int) else wanted


def identity(claim: Claim, work: Work) -> Identity:
    return Identity(
        run=work.run,
        rollout=claim.job,
        attempt=claim.attempt,
        trajectory=trajectory_id(claim.job, claim.attempt),
        sample=claim.sample,
        group=claim.group,
    )
