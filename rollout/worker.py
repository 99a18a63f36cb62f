"""One rollout's work: from its claim to a scored trajectory, or to words about what broke.

The agent loop is `rollout.loop`; what a rollout is handed and what becomes of its result is decided here.
"""

import asyncio
from collections.abc import Callable, Mapping

from envs.environment import Environment
from envs.errors import SandboxError, TrajcError
from envs.score import Score
from rollout.admission import Admission
from rollout.engine import Broken, Done, Outcome, Stopped
from rollout.ids import trajectory_id
from rollout.loop import run_agent
from rollout.model import Model
from rollout.record import Identity, Journal, NoJournal, Record
from rollout.runs import Claim, RunSpec, Work
from rollout.store import Store
from rollout.trajectory import Trajectory

SCORING_ATTEMPTS = 3
"""A sandbox that breaks while it scores costs a new one, not the whole rollout again."""


class RolloutHandler:
    """`models` gives the model that a run's spec names; whoever made it closes what it shares."""

    def __init__(
        self,
        store: Store,
        environments: Mapping[str, Environment],
        models: Callable[[RunSpec], Model],
        *,
        service: str = "trajc",
        admission: Admission | None = None,
        journals: Callable[[Claim], Journal] = lambda _: NoJournal(),
    ) -> None:
        self.store = store
        self.environments = environments
        self.models = models
        self.service = service
        self.admission = admission or Admission()
        self.journals = journals

    async def __call__(self, claim: Claim) -> Outcome:
        work = await asyncio.to_thread(self.store.work, claim.job)
        environment = self.environments.get(work.task.environment)
        if environment is None:
            known = ", ".join(sorted(self.environments)) or "none"
            words = f"this worker has no environment {work.task.environment!r}; it has: {known}"
            return Broken("environment_error", words, permanent=True)
        record = Record(work.task, identity(claim, work), work.spec.model)
        try:
            trajectory = await run_agent(
                record,
                self.admission.to(environment),
                self.models(work.spec),
                sampling=work.spec.sampling,
                owner=self.owner(claim),
                journal=self.journals(claim),
            )
        except asyncio.CancelledError:
            return Stopped(record.freeze())
        except TrajcError as e:
            return Broken(e.failure, str(e), record.freeze(failure=e.failure, error=str(e)))
        return await self.scored(environment, trajectory, work)

    async def scored(self, environment: Environment, trajectory: Trajectory, work: Work) -> Outcome:
        if work.reference is None:
            return Done(trajectory)
        if trajectory.submission is None:
            words = f"nothing was handed in ({trajectory.stop})"
            return Done(trajectory, Score(scorer="trajc", version="1", value=0.0, verdict="no_answer", words=words))
        for left in reversed(range(SCORING_ATTEMPTS)):
            try:
                async with self.admission.scoring:
                    score = await environment.score(work.task, work.reference, trajectory.submission)
                return Done(trajectory, score)
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


def identity(claim: Claim, work: Work) -> Identity:
    return Identity(
        run=work.run,
        rollout=claim.job,
        attempt=claim.attempt,
        trajectory=trajectory_id(claim.job, claim.attempt),
        sample=claim.sample,
        group=claim.group,
    )
