"""What the Docker engine, or the way to it, does wrong, in our words."""

from collections.abc import Iterator
from contextlib import contextmanager

import aiodocker
import aiohttp

from envs.errors import SandboxError

NO_ENGINE = (
    "no Docker engine answers; start it (`systemctl start docker`, or `dockerd`), or name another one's address "
    "(DOCKER_HOST, or `docker_url` in the swe settings)"
)
NOT_CONNECTED = 900


@contextmanager
def engine_words(what: str) -> Iterator[None]:
    """Every failure leaves as a `SandboxError` in one sentence; our own deadlines (`TimeoutError`) pass through."""
    try:
        yield
    except (TimeoutError, SandboxError):
        raise
    except aiohttp.ClientConnectorError as e:
        raise SandboxError(NO_ENGINE) from e
    except aiodocker.DockerError as e:
        raise SandboxError(NO_ENGINE if unreachable(e) else f"{what}: {_answer(e)}") from e
    except (aiohttp.ClientError, OSError, RuntimeError, AssertionError) as e:
        # A stream that was cut says so by an assertion of its client's, without a word.
        raise SandboxError(f"{what}: the connection to the Docker engine was lost ({type(e).__name__}: {e})") from e


def unreachable(error: BaseException | None) -> bool:
    """Whether nobody listens where the engine should be: its client says so by a status of its own."""
    return isinstance(error, aiohttp.ClientConnectorError) or (
        isinstance(error, aiodocker.DockerError) and error.status == NOT_CONNECTED
    )


def _answer(error: aiodocker.DockerError) -> str:
    words = str(error.message)
    if error.status == 404 and "image" in words.lower():
        return f"{words}; pull or build it first (`trajc doctor` tells how)"
    if error.status in (404, 409):
        return f"the container is gone ({words})"
    return f"the Docker engine answered {error.status}: {words}"
