"""What the command knows of the service: one HTTP client whose errors are sentences."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx
import orjson

from api.settings import Settings


class ServiceError(Exception):
    """The service refused or cannot be reached. `status` is None for the latter; `body` is the problem's JSON."""

    def __init__(self, words: str, status: int | None = None, body: Mapping[str, Any] | None = None) -> None:
        super().__init__(words)
        self.status, self.body = status, dict(body or {})


class Client:
    """Use as a context manager. Paths begin with `/`. Raises `ServiceError` where the URL is none."""

    def __init__(self, url: str, key: str | None = None) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.url = url
        try:
            # A transport of our own: one of httpx's would ask through HTTP_PROXY, which reaches nothing on 127.0.0.1.
            self.http = httpx.Client(
                base_url=url, headers=headers, timeout=httpx.Timeout(600, connect=5), transport=httpx.HTTPTransport()
            )
        except httpx.InvalidURL as e:
            raise ServiceError(f"{url!r} is no address of a service ({e}); one is http://host:port") from None

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def get(self, path: str, **params: Any) -> Any:
        return self.call("GET", path, params={k: v for k, v in params.items() if v is not None})

    def post(self, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Any:
        return self.call("POST", path, json=body or {}, headers=headers)

    def call(self, method: str, path: str, **how: Any) -> Any:
        with self._reaching():
            response = self.http.request(method, path, **how)
        self.check(response)
        return orjson.loads(response.content) if response.content else None

    @contextmanager
    def stream(self, path: str, headers: Mapping[str, str]) -> Iterator[httpx.Response]:
        with self._reaching(), self.http.stream("GET", path, headers=headers) as response:
            if response.status_code >= 400:
                response.read()
                self.check(response)
            yield response

    def check(self, response: httpx.Response) -> None:
        """Raises `ServiceError` with the problem's own words."""
        if response.status_code < 400:
            return
        try:
            body = orjson.loads(response.content)
            words = str(body["detail"])
        except (orjson.JSONDecodeError, KeyError, TypeError):
            body, words = {}, f"{response.request.url} answered {response.status_code}: {response.text[:500]}"
        if response.status_code == 401:
            words = f"the service at {self.url} wants one of its TRAJC_API_KEYS: set TRAJC_KEY to it"
        raise ServiceError(words, response.status_code, body)

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except httpx.TimeoutException as e:
            raise ServiceError(f"the trajc service at {self.url} did not answer in time ({type(e).__name__})") from None
        except httpx.TransportError as e:
            raise ServiceError(
                f"no trajc service answers at {self.url} ({e}); start one with `trajc serve`, "
                "or set TRAJC_URL to where one runs"
            ) from None


def connect(settings: Settings, url: str | None = None) -> Client:
    key = settings.key or (settings.api_keys[0] if settings.api_keys else None)
    return Client((url or settings.service_url).rstrip("/"), key.get_secret_value() if key else None)
