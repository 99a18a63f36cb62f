"""After the agent has ended: an environment completes the evidence, outside the agent's clock."""

import asyncio
import logging
from collections.abc import Iterator

from envs.environment import Environment, FillsEvidence
from envs.evidence import Evidence
from rollout.trajectory import Mark, ToolStep, Trajectory

log = logging.getLogger(__name__)

FILL_SECONDS = 900.0
"""Beyond the environment's own bound, for one that does not keep to it."""


async def filled(environment: Environment, trajectory: Trajectory) -> Trajectory:
    """The trajectory with what the environment could add to its evidence, and a mark that says so in numbers.

    Never fails a rollout: where the environment fails at it, the mark says that.
    """
    pieces = [piece for _, piece in trajectory.evidence]
    if not pieces or not isinstance(environment, FillsEvidence):
        return trajectory
    try:
        found = await asyncio.wait_for(environment.fill(pieces), FILL_SECONDS)
        if not found.words:
            return trajectory
        steps, words = _with(trajectory.steps, iter(found.pieces), len(pieces), len(found.pieces)), found.words
    except Exception as e:
        log.warning("rollout %s: evidence not completed", trajectory.rollout, exc_info=e)
        steps, words = trajectory.steps, f"evidence could not be completed: {type(e).__name__}: {e}"
    mark = Mark(kind="filled", words=words, at_call=len(trajectory.calls))
    return trajectory.model_copy(update={"steps": steps, "marks": (*trajectory.marks, mark)})


def _with(steps: tuple[ToolStep, ...], pieces: Iterator[Evidence], had: int, given: int) -> tuple[ToolStep, ...]:
    if had != given:
        raise ValueError(f"{given} pieces of evidence came back for {had}")
    return tuple(_step(step, tuple(next(pieces) for _ in step.result.evidence)) for step in steps)


def _step(step: ToolStep, evidence: tuple[Evidence, ...]) -> ToolStep:
    return step.model_copy(update={"result": step.result.model_copy(update={"evidence": evidence})})
