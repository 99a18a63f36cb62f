"""Trajectories, whole in the blobs and as rows to list and filter; the scores beside them; the compiler's input."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa

from envs.blobs import Blob
from envs.score import Score
from envs.task import Reference
from rollout.database import NotFound, keepable
from rollout.runs import Candidate, Page, ScoreRow, TaskRow, TrajectoryRow
from rollout.schema import references, scores, tasks, trajectories
from rollout.store_part import chunked
from rollout.store_tasks import TaskSets, reference_of, task_of
from rollout.trajectory import Trajectory

TRAJECTORY_MEDIA_TYPE = "application/vnd.trajc.trajectory+json"


class Kept(NamedTuple):
    """A trajectory whose blob is stored, as the row that will name it, less `partial`, `created` and
    `reference_hash`."""

    row: dict[str, Any]


class Trajectories(TaskSets):
    def save_trajectory(
        self, trajectory: Trajectory, reference: Reference | None = None, score: Score | None = None
    ) -> TrajectoryRow:
        """Keep one that no job of ours made (an import). Saving the same id again changes nothing."""
        kept = self.keep(trajectory)
        with self._stage([TaskRow(trajectory.task, reference)]) as staged, self.write() as c:
            ((_, reference_hash),) = staged
            now = self.now()
            made = {"partial": trajectory.stop is None, "created": now, "reference_hash": reference_hash}
            imported = {"run_id": trajectory.run or None, "rollout_id": trajectory.rollout or None}
            there = c.execute(sa.select(trajectories.c.id).where(trajectories.c.id == trajectory.id)).first()
            if there is None:
                c.execute(trajectories.insert(), kept.row | made | imported)
                if score is not None:
                    self._append_score(c, trajectory.id, score, now)
                self.emit(c, now, ("trajectory.saved", None, None, {"trajectory": trajectory.id}))
        return self.trajectory_row(trajectory.id)

    def trajectory(self, id: str) -> Trajectory:
        """Raises `NotFound`."""
        with self.read() as c:
            blob = c.execute(sa.select(trajectories.c.blob).where(trajectories.c.id == id)).scalar_one_or_none()
        if blob is None:
            raise NotFound("trajectory", id)
        return self._load(blob)

    def trajectory_row(self, id: str) -> TrajectoryRow:
        """Raises `NotFound`."""
        with self.read() as c:
            row = c.execute(trajectories.select().where(trajectories.c.id == id)).one_or_none()
        if row is None:
            raise NotFound("trajectory", id)
        return _record(row)

    def trajectories(
        self,
        *,
        runs: Sequence[str] = (),
        environments: Sequence[str] = (),
        models: Sequence[str] = (),
        partial: bool | None = False,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[TrajectoryRow]:
        """Oldest first. An empty filter takes all; `partial=None` takes whole and partial ones."""
        query = _matching(trajectories.select(), runs, environments, models, partial, cursor).limit(limit + 1)
        with self.read() as c:
            rows = c.execute(query).all()
        items = tuple(_record(row) for row in rows[:limit])
        return Page(items, items[-1].id if len(rows) > limit else None)

    def candidates(
        self,
        *,
        runs: Sequence[str] = (),
        environments: Sequence[str] = (),
        models: Sequence[str] = (),
        partial: bool | None = False,
    ) -> Iterator[Candidate]:
        """Every matching trajectory with what scored it and its newest score, by id, one in memory at a time."""
        cursor: str | None = None
        while True:
            query = _matching(_CANDIDATES, runs, environments, models, partial, cursor).limit(_STRETCH)
            with self.read() as c:
                rows = c.execute(query).all()
            yield from map(self._candidate, rows)
            if len(rows) < _STRETCH:
                return
            cursor = rows[-1].id

    def candidates_of(self, ids: Iterable[str]) -> Iterator[Candidate]:
        """Those of these trajectories, in this order, one in memory at a time. Raises `NotFound`."""
        for some in chunked(ids):
            with self.read() as c:
                rows = {row.id: row for row in c.execute(_CANDIDATES.where(trajectories.c.id.in_(some)))}
            for id in some:
                if id not in rows:
                    raise NotFound("trajectory", id)
                yield self._candidate(rows[id])

    def trajectory_view(self, *, runs: Sequence[str] = ()) -> Iterator[dict[str, Any]]:
        """What can be told of each trajectory without reading it, whole ones and partial ones, by id: the columns
        that a recipe selects by."""
        of = trajectories.c
        base = (
            sa.select(
                of.id,
                of.run_id.label("run"),
                of.task_id.label("task"),
                of.environment,
                of.task_group,
                tasks.c.body,
                of.model,
                of.stop,
                scores.c.verdict,
                scores.c.value.label("score"),
                of.turns,
                of.completion_tokens.label("tokens"),
                of.seconds,
                (of.source != "native").label("imported"),
            )
            .join(tasks, tasks.c.hash == of.task_hash)
            .outerjoin(scores, scores.c.id == _NEWEST_SCORE)
        )
        cursor: str | None = None
        while True:
            with self.read() as c:
                rows = c.execute(_matching(base, runs, (), (), None, cursor).limit(_STRETCH)).all()
            for row in rows:
                told = {**row._mapping}
                yield told | {"split": task_of(told.pop("body")).split}
            if len(rows) < _STRETCH:
                return
            cursor = rows[-1].id

    def scores(self, trajectory: str) -> tuple[ScoreRow, ...]:
        """Oldest first."""
        query = scores.select().where(scores.c.trajectory_id == trajectory).order_by(scores.c.id)
        with self.read() as c:
            rows = c.execute(query).all()
        return tuple(ScoreRow(row.id, row.trajectory_id, _score(row), row.created) for row in rows)

    def add_score(self, trajectory: str, score: Score) -> ScoreRow:
        """Append one; those there stay. Raises `NotFound`."""
        self.trajectory_row(trajectory)
        with self.write() as c:
            now = self.now()
            id = self._append_score(c, trajectory, score, now)
            self.emit(c, now, ("score.added", None, None, {"trajectory": trajectory, "verdict": score.verdict}))
        return ScoreRow(id, trajectory, score, now)

    def keep(self, trajectory: Trajectory) -> Kept:
        """Store its blob, which is durable before any row names it."""
        data = trajectory.model_dump_json(exclude_defaults=True).encode()
        return Kept(_row(trajectory, self.blobs.put(data, TRAJECTORY_MEDIA_TYPE)))

    def _candidate(self, row: sa.Row[Any]) -> Candidate:
        score = None if row.score_id is None else _score(row)
        return Candidate(self._load(row.blob), reference_of(row.reference), score)

    def _load(self, blob: str) -> Trajectory:
        return Trajectory.model_validate(orjson.loads(self.blobs.get(blob)))

    def _append_score(self, c: sa.Connection, trajectory: str, score: Score, now: float) -> str:
        row = self._score_row(trajectory, score, now)
        c.execute(scores.insert(), row)
        return str(row["id"])

    def _score_row(self, trajectory: str, score: Score, now: float) -> dict[str, Any]:
        told = score.model_dump() | {"words": keepable(score.words)}
        return {"id": self.new_id("sc"), "trajectory_id": trajectory, "created": now, **told}


_STRETCH = 200
"""Rows read at once by `candidates`."""

_NEWEST_SCORE = (
    sa.select(sa.func.max(scores.c.id))
    .where(scores.c.trajectory_id == trajectories.c.id)
    .correlate(trajectories)
    .scalar_subquery()
)

_CANDIDATES = (
    sa.select(
        trajectories.c.id,
        trajectories.c.blob,
        references.c.body.label("reference"),
        scores.c.id.label("score_id"),
        *(scores.c[name] for name in Score.model_fields),
    )
    .outerjoin(
        references,
        (references.c.task_hash == trajectories.c.task_hash) & (references.c.hash == trajectories.c.reference_hash),
    )
    .outerjoin(scores, scores.c.id == _NEWEST_SCORE)
)


def _matching(
    query: sa.Select[Any],
    runs: Sequence[str],
    environments: Sequence[str],
    models: Sequence[str],
    partial: bool | None,
    cursor: str | None,
) -> sa.Select[Any]:
    of = trajectories.c
    for column, wanted in ((of.run_id, runs), (of.environment, environments), (of.model, models)):
        if wanted:
            query = query.where(column.in_(wanted))
    if partial is not None:
        query = query.where(of.partial.is_(partial))
    if cursor is not None:
        query = query.where(of.id > cursor)
    return query.order_by(of.id)


def _row(trajectory: Trajectory, blob: Blob) -> dict[str, Any]:
    usage = trajectory.usage
    return {
        "id": trajectory.id,
        "run_id": trajectory.run,
        "rollout_id": trajectory.rollout,
        "attempt": trajectory.attempt,
        "hash": trajectory.hash,
        "blob": blob.hash,
        "size": blob.size,
        "task_hash": trajectory.task.hash,
        "task_id": trajectory.task.id,
        "task_group": keepable(trajectory.task.group),
        "environment": trajectory.task.environment,
        "model": trajectory.model,
        "stop": trajectory.stop,
        "turns": len(trajectory.calls),
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "cached_tokens": usage.cached_tokens,
        "seconds": trajectory.seconds,
        "source": trajectory.source.kind,
    }


def _record(row: sa.Row[Any]) -> TrajectoryRow:
    values = {**row._mapping}
    values["run"], values["rollout"] = values.pop("run_id"), values.pop("rollout_id")
    del values["blob"], values["reference_hash"]
    return TrajectoryRow(**values)


def _score(row: sa.Row[Any]) -> Score:
    return Score(**{name: row._mapping[name] for name in Score.model_fields})
