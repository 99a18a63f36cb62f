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

import re
from types import TracebackType
from typing import ClassVar, Literal

_FIELD = re.compile(r"(?:world|reference)(?:\.\w+)*")
"""What the words of a `TaskError` may begin with."""

FailureClass = Literal["model_error", "sandbox_error", "environment_error", "task_error", "worker_lost"]


class TrajcError(Exception):
    """The words name the thing that is wrong and, where there is one, the way out."""

    failure: ClassVar[FailureClass] = "environment_error"
    permanent: ClassVar[bool] = False
    """Whether another attempt of the same rollout could only end the same way."""


class TaskError(TrajcError):
    failure = "task_error"
    permanent = True

    def __init__(self, words: str, field: str = "") -> None:
        """`field` names the task's part that is wrong, where the words do not begin with it (`world.tree: ...`)."""
        super().__init__(words)
        found = _FIELD.match(words)
        self.field = field or (found[0] if found else "")


class EnvironmentFailure(TrajcError):
    failure = "environment_error"


class SandboxError(TrajcError):
    failure = "sandbox_error"


class boundary:
    """`with boundary(error, what)` names the part that failed: any exception that is not ours already leaves as
    `error`."""

    __slots__ = ("_error", "_what")

    def __init__(self, error: type[TrajcError], what: str) -> None:
        self._error = error
        self._what = what

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception) and not isinstance(error, TrajcError):
            raise self._error(f"{self._what}: {type(error).__name__}: {error}") from error
