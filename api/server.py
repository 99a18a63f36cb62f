"""`trajc serve`: uvicorn and the engine in one process, stopped within a grace period."""

import logging
import signal
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn

from api.app import create_app
from api.deadline import end_by
from api.embedded import embedded
from api.service import NotOpen, Service, open_service
from api.settings import Settings
from rollout.engine import Timing

log = logging.getLogger(__name__)


def check_open(settings: Settings) -> None:
    """Without keys only this machine may call. Raises `NotOpen`."""
    if not settings.api_keys and not settings.is_loopback:
        raise NotOpen(
            f"without API keys the service listens on loopback only, not on {settings.host}: set TRAJC_API_KEYS "
            "(bearer keys, separated by commas), or leave TRAJC_HOST at 127.0.0.1"
        )


def run_server(settings: Settings, say: Callable[[str], None]) -> None:
    """Blocks until SIGTERM or SIGINT. Raises `NotOpen`."""
    check_open(settings)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    for talkative in ("httpx", "alembic"):
        logging.getLogger(talkative).setLevel(logging.WARNING)
    listening = listen(settings)
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    with open_service(settings) as service:
        say(f"trajc serves http://{shown}:{port} (home {settings.home})")
        if not settings.api_keys:
            say("no TRAJC_API_KEYS: answers callers on this machine only")
        config = uvicorn.Config(
            create_app(service, embedded),
            # Sandboxes without an engine start processes as another user, which uvloop cannot, where it is installed.
            loop="asyncio",
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=int(settings.shutdown_seconds),
        )
        Server(config, service).run(sockets=[listening])


class Server(uvicorn.Server):
    """A signal ends the streams at once, so that the server need not wait for their readers."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self.service = service

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """The first asks for a graceful end, a second Ctrl-C for an immediate one; the process then ends as usual,
        and not by the signal."""
        again, self.should_exit = self.should_exit, True  # at once: a second may come while this is at work
        log.warning("%s: ending within %.0f s", signal.Signals(sig).name, self.service.settings.shutdown_seconds)
        self.service.closing = True
        if not again:  # requests and the engine have their grace one after the other
            end_by(2 * (self.service.settings.shutdown_seconds + Timing.close))
        elif sig == signal.SIGINT:
            self.force_exit = True


def listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
        listening.listen(1024)
    except OSError as e:
        listening.close()
        raise NotOpen(
            f"cannot listen on {settings.host}:{settings.port}: {e.strerror}; set TRAJC_PORT to another port"
        ) from None
    return listening
