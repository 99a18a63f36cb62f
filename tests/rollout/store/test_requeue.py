"""Whether a failure is tried again is decided by its class, its number and nothing else."""

import pytest

from envs.errors import FailureClass
from rollout.requeue import LONGEST_DELAY, WORKER_LOST_ATTEMPTS, delay_after


@pytest.mark.parametrize(
    ("failure", "failures", "delay"),
    [
        ("model_error", 1, 15.0),
        ("model_error", 2, 30.0),
        ("model_error", 3, None),
        ("sandbox_error", 1, 5.0),
        ("environment_error", 2, 4.0),
        ("task_error", 1, None),
        ("worker_lost", 3, 0.0),
        ("worker_lost", WORKER_LOST_ATTEMPTS - 1, 0.0),
        ("worker_lost", WORKER_LOST_ATTEMPTS, None),
    ],
)
def test_each_class_has_its_delay_and_its_bound(failure: FailureClass, failures: int, delay: float | None) -> None:
    assert delay_after(failure, failures, max_attempts=3) == delay


def test_a_permanent_failure_stands() -> None:
    assert delay_after("model_error", 1, max_attempts=3, permanent=True) is None


def test_no_delay_is_longer_than_the_longest() -> None:
    assert delay_after("model_error", 5000, max_attempts=9999) == LONGEST_DELAY
