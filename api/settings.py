"""Settings: read once from the environment, on this floor only, and handed down as plain values."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from api.base_urls import askable

_NUMBER = re.compile(r"(/\d{0,9})?", re.ASCII)
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class SettingsError(Exception):
    """A setting cannot be read. The words name the variable, never a secret's value."""


class Settings(BaseModel):
    """Each field is one environment variable: `TRAJC_` and the field's name in capitals."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    home: Path = Field(
        default_factory=lambda: Path.home() / ".trajc",
        description="Folder of the database, blobs, corpora, databases and datasets. Default: `~/.trajc`.",
    )
    database_url: str | None = Field(
        default=None, description="SQLAlchemy URL of the database. Default: SQLite at `trajc.db` in the home folder."
    )
    redis_url: str | None = Field(
        default=None,
        description="Redis that carries work to worker processes, such as `redis://host:6379/0`, `rediss://` with TLS "
        "(`?ssl_ca_certs=FILE` for an authority of your own) or `unix:///PATH`. Default: none; "
        "`trajc serve` then does the work itself.",
    )
    serve_works: bool = Field(
        default=False,
        description="Whether `trajc serve` runs rollouts and compilations itself beside a Redis's workers.",
    )
    base_url: tuple[str, ...] = Field(
        default=(), description="Base URLs of OpenAI-compatible endpoints (ending in `/v1`), separated by commas."
    )
    model: str | None = Field(default=None, description="Model name for runs that name none.")
    model_key: SecretStr | None = Field(
        default=None, description="API key for the model endpoints. `OPENAI_API_KEY` is read where this is not set."
    )
    model_keys: Path | None = Field(
        default=None,
        description='File of API keys for endpoints that want others: JSON, `{"https://host/v1": "key"}`; a key goes '
        "to the URLs below its own. Read again when it changes; every process needs it.",
    )
    model_slots: int = Field(
        default=64,
        ge=1,
        description="Model calls in flight at one endpoint to begin with, in each process; an engine's own figures "
        "move it from there.",
    )
    model_seconds: float = Field(
        default=600,
        gt=0,
        description="How long an endpoint may take for one model call, from the request's first byte to the answer's "
        "last; then the call is made once more, and after that given up (`model_error`).",
    )
    api_keys: tuple[SecretStr, ...] = Field(
        default=(),
        description="Bearer keys that callers must show, separated by commas; a browser asks for one as the password, "
        "with any name. Without any, only loopback.",
    )
    environments: dict[str, dict[str, Any]] = Field(
        default={},
        description='Settings of the environments, as JSON: `{"sql": {"query_seconds": 60}}`. '
        "`DOCKER_HOST` names the swe environment's engine where its `docker_url` does not.",
    )
    host: str = Field(default="127.0.0.1", description="Address that the service listens on.")
    port: int = Field(default=8420, ge=0, le=65535, description="Port that the service listens on; 0 takes a free one.")
    url: str | None = Field(
        default=None, description="Where the command looks for the service. Default: `http://127.0.0.1:PORT`."
    )
    key: SecretStr | None = Field(default=None, description="Bearer key that the command shows to the service.")
    fsync: bool = Field(
        default=False, description="Whether what is kept survives loss of power, and not only the death of a process."
    )
    concurrency: int = Field(default=16, ge=1, description="Rollouts in flight at once in this process.")
    compile_workers: int = Field(
        default=1,
        ge=1,
        description="Processes that compile at once: whole compilations where it is one, else their shards.",
    )
    max_task_bytes: int = Field(default=32 << 20, ge=1024, description="Longest single line of a task file, in bytes.")
    max_body_bytes: int = Field(
        default=16 << 20, ge=1024, description="Largest JSON body, in bytes. Streamed JSONL is bounded by line."
    )
    event_days: float = Field(
        default=30, gt=0, description="How long events are kept for readers that were away, in days."
    )
    lease_seconds: float = Field(
        default=30, gt=0, description="How long a worker may be silent before its jobs are taken back."
    )
    poll_seconds: float = Field(
        default=15, gt=0, description="Without a message for so long, a worker looks into the database by itself."
    )
    shutdown_seconds: float = Field(
        default=20, gt=0, description="Grace that rollouts in flight get to hand back their lease at shutdown."
    )

    @field_validator("base_url", "api_keys", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("environments", mode="before")
    @classmethod
    def _json(cls, value: Any) -> Any:
        try:
            return orjson.loads(value) if isinstance(value, str) else value
        except orjson.JSONDecodeError as e:
            raise ValueError(f"is not JSON: {e}") from None

    @field_validator("base_url")
    @classmethod
    def _urls(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        try:
            return tuple(url.rstrip("/") for url in askable(value))
        except ValueError as e:
            raise ValueError(f"{e} (keys: TRAJC_MODEL_KEY, or the file of TRAJC_MODEL_KEYS)") from None

    @field_validator("redis_url")
    @classmethod
    def _redis(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("must begin with redis://, rediss:// or unix://, as in redis://host:6379/0")
        if value is not None and not value.startswith("unix://") and not _has_numbers(value):
            raise ValueError(
                "its port or its database is no number, as in redis://:password@host:6379/0 (in a password, / is %2F, "
                "@ is %40 and # is %23)"
            )
        if value is not None and (fault := _fault_of_options(value)):
            raise ValueError(f"what follows its ? cannot be used: {fault}")
        return value

    @field_validator("home", "model_keys")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return value and value.expanduser().absolute()

    @property
    def database(self) -> str:
        return self.database_url or f"sqlite:///{self.home / 'trajc.db'}"

    @property
    def blobs(self) -> Path:
        return self.home / "blobs"

    @property
    def journals(self) -> Path:
        return self.home / "journals"

    @property
    def datasets(self) -> Path:
        return self.home / "datasets"

    @property
    def service_url(self) -> str:
        return (self.url or f"http://127.0.0.1:{self.port}").rstrip("/")

    @property
    def is_loopback(self) -> bool:
        return self.host in LOOPBACK


def _has_numbers(url: str) -> bool:
    """Whether its port and its path, where it has them, are numbers; else they may be a password in the wrong place."""
    try:
        parts = urlsplit(url)
        return (
            (parts.port is None or parts.port > 0) and not parts.fragment and _NUMBER.fullmatch(parts.path) is not None
        )
    except ValueError:
        return False


def _fault_of_options(redis_url: str) -> str | None:
    """What the package redis has against the URL's options, said before a service or a worker stands on them."""
    if "?" not in redis_url:
        return None
    from redis import ConnectionPool, RedisError  # a quarter of a second, which most commands can do without

    try:
        pool = ConnectionPool.from_url(redis_url)
        pool.connection_class(**pool.connection_kwargs)
    except TypeError as e:
        return f"there is no option {str(e).rpartition(' ')[2]}"
    except (ValueError, RedisError) as e:
        return str(e)
    return None


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Raises `SettingsError` naming each variable that cannot be read."""
    environ = os.environ if environ is None else environ
    values: dict[str, str] = {
        name: environ[variable(name)] for name in Settings.model_fields if environ.get(variable(name))
    }
    if "model_key" not in values and environ.get("OPENAI_API_KEY"):
        values["model_key"] = environ["OPENAI_API_KEY"]
    try:
        return _with_engine(Settings.model_validate(values), environ.get("DOCKER_HOST"))
    except ValidationError as e:
        raise SettingsError(
            "; ".join(
                f"{variable(str(fault['loc'][0]))}: {fault['msg'].removeprefix('Value error, ')}"
                for fault in e.errors(include_input=False)
            )
        ) from None


def _with_engine(settings: Settings, docker_host: str | None) -> Settings:
    """The engine that Docker's own variable names is the swe environment's, unless its setting names another."""
    if not docker_host:
        return settings
    swe = {"docker_url": docker_host, **settings.environments.get("swe", {})}
    return settings.model_copy(update={"environments": {**settings.environments, "swe": swe}})


def unread(environ: Mapping[str, str]) -> list[str]:
    """Variables that look like settings and are none."""
    known = {variable(name) for name in Settings.model_fields}
    return sorted(name for name in environ if name.startswith(variable("")) and name not in known)


def variable(field: str) -> str:
    return f"TRAJC_{field.upper()}"


def settings_table() -> str:
    """The Markdown table of `docs/settings.md`."""
    rows = ["| variable | default | what it is |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = "" if field.default_factory is not None or field.default in (None, (), {}) else f"`{field.default}`"
        rows.append(f"| `{variable(name)}` | {default} | {field.description} |")
    return "\n".join(rows) + "\n"
