"""The app in this process, over a home folder of its own: for pages and refusals that need no engine."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import uvicorn
from fastapi.testclient import TestClient

from api.app import create_app
from api.service import Service, open_service
from api.settings import Settings


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with open_service(Settings(home=tmp_path / "home")) as opened:
        yield opened


@pytest.fixture
def client(service: Service) -> Iterator[TestClient]:
    with TestClient(create_app(service), base_url="http://127.0.0.1") as http:
        yield http


@pytest.fixture
def client_with(tmp_path: Path) -> Iterator[Callable[..., TestClient]]:
    """A client of a service with these settings."""
    opened = []

    def make(base_url: str = "http://127.0.0.1", **settings: object) -> TestClient:
        context = open_service(Settings.model_validate({"home": tmp_path / "other", **settings}))
        opened.append(context)
        return TestClient(create_app(context.__enter__()), base_url=base_url)

    yield make
    for context in opened:
        context.__exit__(None, None, None)


@pytest.fixture
def serve_app() -> Callable[[Service], AbstractContextManager[str]]:
    """The app on a real port of this process, without an engine; yields its address."""

    @contextmanager
    def serving(service: Service) -> Iterator[str]:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            server = uvicorn.Server(uvicorn.Config(create_app(service), log_level="warning"))
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
            thread.start()
            try:
                yield f"http://127.0.0.1:{listening.getsockname()[1]}"
            finally:
                service.closing = True
                server.should_exit = True
                thread.join()

    return serving
