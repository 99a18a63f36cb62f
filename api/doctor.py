"""What is missing on this machine and how to get it. Each check is one function that changes nothing."""

import asyncio
import difflib
import importlib.metadata
import os
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from api.settings import Settings, unread, variable
from envs.environment import Site

GIB = 1 << 30
ENOUGH_DISK = 5 * GIB
ENDPOINT = "start the endpoint, or mend TRAJC_BASE_URL (it ends in /v1) and TRAJC_MODEL_KEY"


@dataclass(frozen=True)
class Finding:
    what: str
    state: Literal["ok", "missing", "unused"]
    """`unused`: not configured, and nothing needs it."""
    words: str
    way_out: str = ""


Check = Callable[[Settings], Finding]


def examine(settings: Settings) -> Iterator[Finding]:
    """One finding after another; a check that breaks is a finding too."""
    for what, check in CHECKS.items():
        try:
            yield check(settings)
        except Exception as e:
            yield Finding(what, "missing", f"{type(e).__name__}: {e}")


def python(_: Settings) -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding("python", "ok", f"{version}, trajc {importlib.metadata.version('trajc')}")


def names_of_settings(_: Settings) -> Finding:
    """One that is misspelt changes nothing, without a word."""
    known = [variable(name) for name in Settings.model_fields]
    if not (odd := unread(os.environ)):
        return Finding("settings", "ok", f"{sum(name in os.environ for name in known)} are set")
    near = (difflib.get_close_matches(name, known, n=1) for name in odd)
    words = [name + "".join(f" (meant {one}?)" for one in found) for name, found in zip(odd, near, strict=True)]
    return Finding(
        "settings", "unused", f"no setting, and not read: {', '.join(words)}", "docs/settings.md has them all"
    )


def home(settings: Settings) -> Finding:
    folder = settings.home
    while not folder.exists():
        folder = folder.parent
    probe = folder / ".trajc-probe"
    try:
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as e:
        way_out = "set TRAJC_HOME to a folder that you may write"
        return Finding("home", "missing", f"{settings.home}: {e.strerror}", way_out)
    free = shutil.disk_usage(folder).free
    words = f"{settings.home}, {free / GIB:.1f} GiB free"
    if free < ENOUGH_DISK:
        return Finding("home", "missing", words, "free some disk, or set TRAJC_HOME to a larger one")
    return Finding("home", "ok", words)


def database(settings: Settings) -> Finding:
    import sqlalchemy as sa

    from rollout.database import engine_for
    from rollout.migrations import NewerDatabase, standing

    path = settings.home / "trajc.db"
    if settings.database_url is None:
        shown, way_out = f"SQLite at {path}", "set TRAJC_HOME to another folder, or bring back a backup of the file"
        if not path.exists():
            return Finding("database", "ok", shown)
        engine = sa.create_engine("sqlite://", creator=lambda: sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True))
    else:
        way_out = "start it, or unset TRAJC_DATABASE_URL to use SQLite"
        try:
            engine = engine_for(settings.database_url)
        except sa.exc.ArgumentError as e:
            return Finding("database", "missing", str(e), "mend TRAJC_DATABASE_URL, or unset it to use SQLite")
        shown = engine.url.render_as_string(hide_password=True)
    try:
        with engine.connect() as connection:
            standing(connection)
    except NewerDatabase as e:
        return Finding("database", "missing", f"{shown}: {e}", way_out)
    except sa.exc.SQLAlchemyError as e:
        said = f"cannot be read: {getattr(e, 'orig', e)}" if settings.database_url is None else "does not answer"
        return Finding("database", "missing", f"{shown} {said} ({type(e).__name__})", way_out)
    finally:
        engine.dispose()
    return Finding("database", "ok", shown)


def redis(settings: Settings) -> Finding:
    if settings.redis_url is None:
        return Finding("redis", "unused", "TRAJC_REDIS_URL is not set: rollouts run in the service's own process")
    from redis import Redis
    from redis.exceptions import RedisError

    try:
        with Redis.from_url(settings.redis_url, socket_connect_timeout=5, socket_timeout=5) as client:
            client.ping()
    except (RedisError, ValueError) as e:
        words = f"TRAJC_REDIS_URL does not answer ({type(e).__name__})"
        return Finding("redis", "missing", words, "start it (`redis-server`), or unset TRAJC_REDIS_URL")
    return Finding("redis", "ok", "answers")


@contextmanager
def docker_client(settings: Settings) -> Iterator[Any]:
    """Of the engine that SWE sandboxes use. Raises `docker.errors.DockerException`."""
    import docker

    client = docker.DockerClient(swe_settings(settings).docker_url, timeout=10)
    try:
        yield client
    finally:
        client.close()


def swe_settings(settings: Settings) -> Any:
    from envs.errors import TaskError
    from envs.swe.settings import parse_settings

    try:
        return parse_settings(settings.environments.get("swe", {}))
    except TaskError:
        return parse_settings({})  # what is wrong with them is said by the check of the environments


def sandbox(settings: Settings) -> Finding:
    """What the kind of sandbox needs that the swe settings choose, and nothing of the other."""
    chosen = swe_settings(settings)
    if chosen.sandbox == "docker":
        return docker_engine(settings)
    from envs.errors import SandboxError

    try:
        asyncio.run(_one_bubblewrap(chosen))
    except SandboxError as e:
        return Finding("sandbox", "missing", f"no SWE rollouts: {e}", "mend that, or set `sandbox` to docker")
    return Finding("sandbox", "ok", f"bubblewrap, over {chosen.rootfs}")


async def _one_bubblewrap(chosen: Any) -> None:
    """Raises `SandboxError` where no sandbox can be made."""
    from envs.swe.bubblewrap import BubblewrapSandboxes
    from envs.swe.sandbox import SandboxSpec

    spec = SandboxSpec(image="", requires=chosen.required_limits)
    await (await BubblewrapSandboxes(chosen.rootfs).start(spec)).close()


def docker_engine(settings: Settings) -> Finding:
    from docker.errors import DockerException

    try:
        with docker_client(settings) as client:
            version = client.version()["Version"]
    except DockerException as e:
        way_out = (
            "install and start Docker (`apt install docker.io`), or choose bubblewrap (docs/swe.md); the "
            "search and sql environments do without"
        )
        words = f"no Docker engine answers at {swe_settings(settings).docker_url} ({type(e).__name__}): no SWE rollouts"
        return Finding("sandbox", "missing", words, way_out)
    return Finding("sandbox", "ok", f"Docker engine, version {version}")


def model_endpoint(settings: Settings) -> Finding:
    from api.model_keys import key_for, keys_in

    if settings.model_keys is not None and not keys_in(settings.model_keys):
        words = f"TRAJC_MODEL_KEYS: no key can be read in {settings.model_keys}"
        return Finding("model endpoint", "missing", words, 'a key file is JSON: {"https://host/v1": "key"}')
    if not settings.base_url:
        words = "TRAJC_BASE_URL is not set: each run names its own endpoint"
        return Finding("model endpoint", "unused", words, "`trajc oracle` starts one that needs no model")
    import httpx

    answers = []
    for url in settings.base_url:
        key = key_for(settings, url)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        try:
            with httpx.Client(transport=httpx.HTTPTransport()) as http:  # without HTTP_PROXY, as models are asked
                response = http.get(f"{url}/models", headers=headers, timeout=10)
            response.raise_for_status()
            served = [str(model["id"]) for model in response.json()["data"][:5]]
        except httpx.HTTPStatusError as e:
            return Finding("model endpoint", "missing", f"{url}/models answered {e.response.status_code}", ENDPOINT)
        except httpx.HTTPError as e:
            return Finding("model endpoint", "missing", f"{url}/models: {e}", ENDPOINT)
        except (ValueError, LookupError, TypeError):
            return Finding("model endpoint", "missing", f"{url}/models answered with no list of models", ENDPOINT)
        answers.append(f"{url} serves {', '.join(served)}")
    return Finding("model endpoint", "ok", "; ".join(answers))


def environments(settings: Settings) -> Finding:
    from envs.errors import TrajcError
    from envs.registry import create, names
    from rollout.blobs import FolderBlobs

    known, faults = sorted(names()), []
    for name in sorted({*known, *settings.environments}):
        try:
            create(name, Site(settings.home, FolderBlobs(settings.blobs), settings.environments.get(name, {})))
        except TrajcError as e:
            faults.append(f"{name}: {e}")
    if faults:
        return Finding("environments", "missing", "; ".join(faults), "mend TRAJC_ENVIRONMENTS")
    return Finding("environments", "ok", ", ".join(known))


def base_image(settings: Settings) -> Finding:
    from docker.errors import DockerException, ImageNotFound

    chosen = swe_settings(settings)
    if chosen.sandbox != "docker":
        shows = f"the root file system {chosen.rootfs}" if chosen.rootfs else "a root file system, and none is named"
        return Finding("base image", "unused", f"{chosen.sandbox} shows {shows}")
    image = chosen.image
    try:
        with docker_client(settings) as client:
            found = client.images.get(image)
    except ImageNotFound:
        words = f"the Docker engine has no image {image}"
        return Finding("base image", "missing", words, "make it: `trajc tasks base-image`")
    except DockerException:
        return Finding("base image", "unused", "no Docker engine to hold it")
    return Finding("base image", "ok", f"{image} {str(found.id)[:19]}")


def tokenizer(_: Settings) -> Finding:
    from compiler.tokens import load_tokenizer

    loaded = load_tokenizer("qwen3")
    return Finding("tokenizer", "ok", f"{loaded.name} {loaded.identity[:12]}")


def datasets(settings: Settings) -> Finding:
    folder = Path(settings.datasets)
    names = sorted(p.name for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
    return Finding("datasets", "ok", f"{len(names)} in {folder}")


CHECKS: dict[str, Check] = {
    "python": python,
    "settings": names_of_settings,
    "home": home,
    "database": database,
    "redis": redis,
    "environments": environments,
    "sandbox": sandbox,
    "base image": base_image,
    "tokenizer": tokenizer,
    "model endpoint": model_endpoint,
    "datasets": datasets,
}
