"""What is queued and how it stands, as frozen records: run specs, runs, rollouts, attempts, claims, pages."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeVar
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from envs.errors import FailureClass
from envs.frozen import Frozen
from envs.score import Score
from envs.task import Limits, Reference, Task
from rollout.accounts import Accounts
from rollout.trajectory import Trajectory

JobKind = Literal["rollout", "generation", "compile_shard", "eval"]
JobState = Literal["queued", "running", "succeeded", "failed", "cancelled"]

T = TypeVar("T")


def plain_urls(urls: tuple[str, ...]) -> tuple[str, ...]:
    """The URLs. Raises `ValueError` where one is no http(s) URL, or carries a secret."""
    for url in urls:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            shown = "one with credentials" if "@" in url else repr(url.partition("?")[0])
            raise ValueError(f"a base URL is http(s)://host[:port]/path, not {shown}")
        if parts.username is not None or parts.password is not None or parts.query:
            raise ValueError(
                f"the base URL of {parts.hostname} carries credentials or a query; API keys belong in the settings"
            )
    return urls


Label = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]*$")]
"""Text for lists and terminals: no control characters, of which no database of ours keeps the NUL."""


class RunSpec(Frozen):
    """What a run asks for. It holds no secret: API keys come from the service's settings."""

    environment: str
    model: Label = Field(min_length=1)
    base_urls: tuple[str, ...] = ()
    """OpenAI-compatible endpoints; none means those that the service is set up with."""
    name: Label = ""
    sampling: dict[str, Any] = {}
    """Sent with every model call: temperature, top_p, seed, max_tokens ..."""
    samples: int = Field(default=1, ge=1, le=100_000)
    """Rollouts of each task."""
    limits: Limits | None = None
    """In place of every task's own limits."""
    priority: int = 0
    """Higher is claimed first; among equals the older run."""
    calls_at_once: int | None = Field(default=None, ge=1)
    """Model calls in flight at once, over all processes; None for no bound but the endpoints'. No process has less than
    one."""
    recipe: str | dict[str, Any] | None = None
    """Name or content of the recipe that each trajectory is compiled with."""
    max_attempts: int = Field(default=3, ge=1)
    """Attempts that end in one class of failure before it stands; lost workers have a bound of their own."""

    @field_validator("base_urls")
    @classmethod
    def _no_credentials(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        return plain_urls(urls)


@dataclass(frozen=True)
class TaskRow:
    """A task to queue, pinned by its environment, and what scores it."""

    task: Task
    reference: Reference | None = None


@dataclass(frozen=True)
class TaskSet:
    id: str
    name: str
    version: int
    hash: str
    """Over the rows in order."""
    size: int
    created: float


@dataclass(frozen=True)
class Run:
    id: str
    spec: RunSpec
    sealed: bool
    paused: bool
    cancel_requested: bool
    created: float
    finished: float | None
    """When a sealed run had nothing left to do."""
    accounts: Accounts

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def state(self) -> Literal["open", "sealed"]:
        return "sealed" if self.sealed else "open"


@dataclass(frozen=True)
class Attempt:
    """One try that has ended."""

    attempt: int
    worker: str
    started: float
    ended: float
    outcome: Literal["succeeded", "failed", "cancelled", "released"]
    failure: FailureClass | None
    error: str
    trajectory: str | None


@dataclass(frozen=True)
class Rollout:
    """One sample of one task, as it stands. `failure` and `error` are set where it failed for good."""

    id: str
    run: str
    environment: str
    task_hash: str
    task_id: str
    sample: int
    group: str
    state: JobState
    attempt: int
    worker: str | None
    failure: FailureClass | None
    error: str
    trajectory: str | None
    next_attempt_at: float
    created: float
    finished: float | None
    claimed: float | None = None
    """When the attempt under way, or the last one, was claimed."""
    attempts: tuple[Attempt, ...] = ()
    """Filled by `Store.rollout`, not in lists."""


@dataclass(frozen=True)
class Job:
    """A job of any kind, as it stands."""

    id: str
    kind: JobKind
    run: str | None
    state: JobState
    attempt: int
    worker: str | None
    failure: FailureClass | None
    error: str
    payload: dict[str, Any]
    result: dict[str, Any] | None
    created: float
    finished: float | None


@dataclass(frozen=True)
class Claim:
    """The right to work on one attempt of one job until the lease runs out. `(job, attempt)` is the fence."""

    job: str
    kind: JobKind
    attempt: int
    worker: str
    run: str | None
    sample: int
    group: str
    payload: dict[str, Any] = field(compare=False)


@dataclass(frozen=True)
class Work:
    """What a rollout's claim is about."""

    run: str
    spec: RunSpec
    task: Task
    reference: Reference | None


Applied = Literal["applied", "repeated", "cancelled", "superseded"]
"""What became of a worker's result. `repeated`: this very attempt had already been told; `cancelled`: a cancel
came first (what was handed in is kept as a partial trajectory); `superseded`: the attempt is no longer the
job's current one. Only `applied` changes the job."""


class Candidate(NamedTuple):
    """What the compiler starts from: a finished trajectory, what scored it, and its newest score."""

    trajectory: Trajectory
    reference: Reference | None
    score: Score | None


@dataclass(frozen=True)
class TrajectoryRow:
    """A trajectory without its text."""

    id: str
    run: str | None
    rollout: str | None
    attempt: int
    hash: str
    size: int
    """Bytes of its JSON."""
    task_hash: str
    task_id: str
    task_group: str
    environment: str
    model: str
    partial: bool
    stop: str | None
    turns: int
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    seconds: float
    source: str
    created: float


@dataclass(frozen=True)
class ScoreRow:
    id: str
    trajectory: str
    score: Score
    created: float


@dataclass(frozen=True)
class Compilation:
    id: str
    recipe: dict[str, Any]
    dataset: str
    state: JobState
    error: str
    version: str | None
    accounts: dict[str, Any] | None
    run: str | None
    created: float
    finished: float | None


@dataclass(frozen=True)
class DatasetVersion:
    dataset: str
    version: str
    compilation: str | None
    manifest: dict[str, Any]
    created: float


@dataclass(frozen=True)
class Event:
    """Something changed. `id` only grows: a reader asks for what came after the last it saw."""

    id: int
    kind: str
    run: str | None
    job: str | None
    data: dict[str, Any]
    at: float


@dataclass(frozen=True)
class Page(Generic[T]):
    """A stretch of a list. `next` is the cursor to ask on with; None at the end."""

    items: tuple[T, ...]
    next: str | None = None
