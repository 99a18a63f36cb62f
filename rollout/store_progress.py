"""How a run comes along: counts, rates and tokens, all from the database, whichever processes do the work."""

import sqlalchemy as sa

from rollout.accounts import Accounts, Progress, accounts_of
from rollout.endpoints import EndpointUse
from rollout.queue_sql import QUEUED, RUNNING
from rollout.runs import JobKind
from rollout.schema import attempts, events, jobs, runs, trajectories
from rollout.store_endpoints import Endpoints
from rollout.store_runs import Runs

LATEST = 1000
"""Events that are looked through for the last claims."""


class Measures(Runs, Endpoints):
    def progress(self, run: str, window: float = 60.0) -> Progress:
        """Rollouts are counted over the last `window` seconds, or since the run began. Raises `NotFound`."""
        told = self.run(run)
        now, of = self.now(), trajectories.c
        window = min(window, max(now - told.created, 1.0))
        ended = sa.select(sa.func.count()).where(of.run_id == run, of.created > now - window, of.partial.is_(False))
        with self.read() as c:
            recent = c.execute(ended).scalar_one()
        uses = self.endpoint_uses(run)
        return Progress(
            accounts=told.accounts,
            endpoints=uses,
            rollouts_per_second=recent / window,
            reason=self._reason(run, uses) if told.finished is None and not recent else "",
        )

    def totals(self) -> tuple[Accounts, int, int]:
        """The accounts of all runs together, and how many runs are finished and not, in three statements however many
        runs there are."""
        of = jobs.c
        counted = (
            sa.select(of.state, of.failure, sa.func.count())
            .where(of.run_id.is_not(None), of.id.startswith("ro_"))
            .group_by(of.state, of.failure)
        )
        submitted = sa.select(
            sa.func.coalesce(sa.func.sum(runs.c.submitted), 0), sa.func.count(), sa.func.count(runs.c.finished)
        )
        with self.read() as c:
            total, count, finished = c.execute(submitted).one()
            rows = [(state, failure, n) for state, failure, n in c.execute(counted)]
        return accounts_of(int(total), rows), finished, count - finished

    def untaken(self, kind: JobKind, run: str | None = None, seconds: float = 10.0) -> int:
        """Jobs of this kind (of this run, or of none) that anybody might have taken for so long, where nobody does:
        none of the kind is under way, of whichever run, and none was claimed meanwhile."""
        since, of = self.now() - seconds, jobs.c
        latest = sa.select(events.c.kind, events.c.at).order_by(events.c.id.desc()).limit(LATEST).subquery()
        claimed = sa.exists().where(latest.c.kind == f"{kind}.running", latest.c.at > since)
        mine = of.run_id.is_(None) if run is None else of.run_id == run
        due = sa.select(sa.func.count()).where(
            mine, of.kind == kind, QUEUED, of.next_attempt_at <= since, of.created <= since
        )
        with self.read() as c:
            # First what is quickly told, and true as a rule: the count looks at every job that waits.
            busy = c.execute(sa.select(claimed | sa.exists().where(of.kind == kind, RUNNING))).scalar_one()
            return 0 if busy else int(c.execute(due).scalar_one())

    def _reason(self, run: str, uses: tuple[EndpointUse, ...]) -> str:
        """The words of what failed last, where nothing of the run ended for a while."""
        dead = [use for use in uses if use.state == "failing"]
        if dead and len(dead) == len([use for use in uses if use.state != "idle"]):
            return "no endpoint answers: " + "; ".join(use.trouble for use in dead)
        last = (
            sa.select(attempts.c.failure, attempts.c.error)
            .join(jobs, jobs.c.id == attempts.c.job_id)
            .where(jobs.c.run_id == run, jobs.c.state == "queued", jobs.c.attempt > 0)
            .where(attempts.c.failure.is_not(None), attempts.c.attempt == jobs.c.attempt)
            .order_by(jobs.c.id)
            .limit(1)
        )
        with self.read() as c:
            row = c.execute(last).one_or_none()
        return "" if row is None else f"{row.failure}: {row.error}"
