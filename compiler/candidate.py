"""What the compiler is handed: one finished trajectory, what scored it, and how it was scored."""

from envs.frozen import Frozen
from envs.score import Score
from envs.task import Reference
from rollout.trajectory import Trajectory


class Candidate(Frozen):
    """`score` is the latest one; None where nobody scored. `reference` is None for imports without one."""

    trajectory: Trajectory
    reference: Reference | None = None
    score: Score | None = None
