"""A machine's proxy stands between nobody here: it reaches no service on 127.0.0.1, and is to see no key."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from api.client import Client
from api.doctor import model_endpoint
from api.endpoints import check_model
from api.service import Service
from api.settings import Settings
from envs.search.endpoint import Endpoint, EndpointSettings

DEAD = ("http://127.0.0.1:1", "socks5://127.0.0.1:1")


@pytest.fixture(params=DEAD)
def proxy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, request.param)


@pytest.mark.usefixtures("proxy")
def test_a_proxy_does_not_hide_the_service(
    service: Service, serve_app: Callable[[Service], AbstractContextManager[str]]
) -> None:
    with serve_app(service) as url, Client(url) as client:
        assert client.get("/v1/runs") == {"items": [], "next": None}


@pytest.mark.usefixtures("proxy")
async def test_a_proxy_is_not_asked_for_models(
    service: Service, serve_app: Callable[[Service], AbstractContextManager[str]]
) -> None:
    with serve_app(service) as url:
        assert model_endpoint(Settings(base_url=(url,))).words == f"{url}/models answered 404"
        (warning,) = await check_model(Settings(), "m", [url])
        assert warning.startswith(f"{url}/models answered 404")
        endpoint = Endpoint(EndpointSettings(base_url=url, model="m"))
        with pytest.raises(ValueError, match="404"):
            await endpoint.complete("hello")
        await endpoint.close()
