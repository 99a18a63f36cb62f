"""How a run comes along: counts, rates and tokens, all from the database, whichever processes do the work."""

import sqlalchemy as sa

from rollout.accounts import Progress
from rollout.schema import trajectories
from rollout.store_runs import Runs


class Measures(Runs):
    def progress(self, run: str, window: float = 60.0) -> Progress:
        """Rates are over the last `window` seconds. Raises `NotFound`."""
        accounts = self.accounts(run)
        of, since = trajectories.c, self.now() - window
        query = sa.select(
            sa.func.count(),
            sa.func.count().filter(of.created > since, of.partial.is_(False)),
            sa.func.coalesce(sa.func.sum(of.turns), 0),
            sa.func.coalesce(sa.func.sum(of.prompt_tokens), 0),
            sa.func.coalesce(sa.func.sum(of.completion_tokens), 0),
            sa.func.coalesce(sa.func.sum(of.cached_tokens), 0),
            sa.func.coalesce(sa.func.sum(of.completion_tokens).filter(of.created > since), 0),
        ).where(of.run_id == run)
        with self.read() as c:
            kept, recent, turns, prompt, completion, cached, recent_tokens = c.execute(query).one()
        return Progress(
            accounts=accounts,
            trajectories=kept,
            turns=int(turns),
            prompt_tokens=int(prompt),
            completion_tokens=int(completion),
            cached_tokens=int(cached),
            rollouts_per_second=recent / window,
            completion_tokens_per_second=int(recent_tokens) / window,
        )
