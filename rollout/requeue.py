"""Whether a failed attempt of a job is tried again, and when: a pure decision.

Not to be confused with `rollout.retry`, which asks an endpoint again within one model call.
"""

from envs.errors import FailureClass

WORKER_LOST_ATTEMPTS = 20
"""Attempts that may lose their worker before the rollout is taken for what kills workers."""

LONGEST_DELAY = 600.0
"""Seconds; no delay is longer."""

_FIRST_DELAY: dict[FailureClass, float] = {
    "model_error": 15.0,  # the endpoint was asked several times already: give it time
    "sandbox_error": 5.0,
    "environment_error": 2.0,
    "worker_lost": 0.0,
}


def delay_after(failure: FailureClass, failures: int, max_attempts: int, *, permanent: bool = False) -> float | None:
    """Seconds until the next attempt, or None where the failure stands.

    `failures` counts the attempts that ended in this class, this one included; `max_attempts` bounds it.
    A wrong task stays wrong, and what its raiser calls permanent is believed.
    """
    if permanent or failure == "task_error":
        return None
    bound = WORKER_LOST_ATTEMPTS if failure == "worker_lost" else max_attempts
    if failures >= bound:
        return None
    return float(min(_FIRST_DELAY[failure] * 2 ** min(failures - 1, 32), LONGEST_DELAY))
