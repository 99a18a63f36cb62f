"""Every error that trajc raises on purpose, by the boundary that it happened at.

    TrajcError
    ├── TaskError           task_error         the task (or its file) is wrong; mend the task
    ├── EnvironmentFailure  environment_error  our environment broke while it worked
    ├── SandboxError        sandbox_error      the container, process or engine under it broke
    ├── ModelError          model_error        the endpoint failed for good (raised on the rollout floor)
    │   └── ModelRefused                       it refused the request itself: no attempt will change that
    └── WorkerLost          worker_lost        the worker vanished or lost its lease (rollout floor)

`failure` is the class that the rollout's row, the accounts and the dashboard show.
What a model sends wrong is no error of ours: it is `envs.tool.MalformedCall` and goes back to the model.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar, Literal

FailureClass = Literal["model_error", "sandbox_error", "environment_error", "task_error", "worker_lost"]


class TrajcError(Exception):
    """The words name the thing that is wrong and, where there is one, the way out."""

    failure: ClassVar[FailureClass] = "environment_error"
    permanent: ClassVar[bool] = False
    """Whether another attempt of the same rollout could only end the same way."""


class TaskError(TrajcError):
    failure = "task_error"
    permanent = True


class EnvironmentFailure(TrajcError):
    failure = "environment_error"


class SandboxError(TrajcError):
    failure = "sandbox_error"


@contextmanager
def boundary(error: type[TrajcError], what: str) -> Iterator[None]:
    """Name the part that failed: any exception that is not ours already leaves as `error`."""
    try:
        yield
    except TrajcError:
        raise
    except Exception as e:
        raise error(f"{what}: {type(e).__name__}: {e}") from e
