"""Which runs' finished trajectories are to be prepared while the run goes on (`api.compile_ahead` does it)."""

import time
from collections.abc import Callable

from api.compile_ahead import Order
from api.compile_jobs import with_models
from api.compile_steps import KIND
from api.service import Service
from compiler.recipe import parse_recipe
from envs.frozen import content_hash
from rollout.runs import Run

BATCH = 64
"""So many finished trajectories are a job at once; fewer, once the first has waited for `WAIT_SECONDS`."""
WAIT_SECONDS = 5.0


class Ahead:
    """Orders that work: one job for a run at a time, so that none of it stands in the way of the compilation."""

    def __init__(
        self,
        service: Service,
        *,
        wait_seconds: float = WAIT_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.service = service
        self.wait_seconds = wait_seconds
        self._monotonic = monotonic
        self._waiting: dict[str, dict[str, float]] = {}
        """Run -> trajectory -> when it came. Only runs with a recipe that go on are here."""
        self._wanted: dict[str, bool] = {}
        """Whether a run that goes on has a recipe."""
        self._jobs: dict[str, str] = {}

    def resume(self, run: Run) -> None:
        """After a start: all that the run has so far. What is known already costs little."""
        cursor = None
        while run.finished is None and isinstance(run.spec.recipe, dict):
            page = self.service.store.trajectories(runs=[run.id], cursor=cursor, limit=1000)
            for row in page.items:
                self._waiting.setdefault(run.id, {})[row.id] = self._monotonic()
            if (cursor := page.next) is None:
                return

    def finished(self, run: str, trajectory: str) -> None:
        if run not in self._wanted:
            self._wanted[run] = isinstance(self.service.store.run(run).spec.recipe, dict)
        if self._wanted[run]:
            self._waiting.setdefault(run, {})[trajectory] = self._monotonic()

    def ended(self, run: str) -> None:
        self._wanted.pop(run, None)
        self._waiting.pop(run, None)
        self._jobs.pop(run, None)

    def turn(self) -> None:
        """Order what is due."""
        for run, waiting in self._waiting.items():
            if not waiting or not self._due(waiting) or self._busy(run):
                continue
            ids = tuple(waiting)[: 4 * BATCH]
            self._order(run, ids)
            for id in ids:
                del waiting[id]

    def _due(self, waiting: dict[str, float]) -> bool:
        return len(waiting) >= BATCH or self._monotonic() - next(iter(waiting.values())) >= self.wait_seconds

    def _busy(self, run: str) -> bool:
        found = self.service.store.jobs([self._jobs[run]]) if run in self._jobs else ()
        return any(job.state in ("queued", "running") for job in found)

    def _order(self, run: str, ids: tuple[str, ...]) -> None:
        spec = self.service.store.run(run).spec
        assert isinstance(spec.recipe, dict)
        recipe = with_models(self.service.settings, parse_recipe({**spec.recipe, "runs": [run]}))
        order = Order(run=run, recipe=recipe.model_dump(mode="json"), trajectories=ids)
        self._jobs[run] = job = f"cs_{content_hash(order)[:32]}"
        self.service.store.order(KIND, {job: order.model_dump(mode="json")})
