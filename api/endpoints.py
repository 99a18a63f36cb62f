"""Which model endpoints a run uses, and whether they know its model."""

import asyncio
from collections.abc import Sequence

import httpx

from api.problems import Problem, unknown
from api.settings import Settings

ASK_SECONDS = 5.0


def key_for(settings: Settings, url: str) -> str | None:
    """The service's model key goes to the endpoints of its own settings. To one that a caller names it goes
    only while the service has no callers but its owner (no API keys, loopback alone)."""
    if settings.model_key is None:
        return None
    ours = url.rstrip("/") in settings.base_url or not settings.api_keys
    return settings.model_key.get_secret_value() if ours else None


def urls_of(settings: Settings, named: Sequence[str]) -> tuple[str, ...]:
    """Raises `Problem` where neither the run nor the settings name an endpoint."""
    urls = tuple(named) or settings.base_url
    if not urls:
        raise Problem(
            422,
            "no-endpoint",
            "no model endpoint: give the run base_urls (--base-url), or start the service with TRAJC_BASE_URL; "
            "`trajc oracle` starts one that needs no model",
        )
    return urls


async def check_model(settings: Settings, model: str, urls: Sequence[str]) -> list[str]:
    """Warnings of endpoints that name no models. Raises `Problem` naming the known models where an endpoint says
    that it has no such model.

    An endpoint that does not answer now may answer when its turn comes: the queue waits for it.
    """
    answers = await asyncio.gather(*(served(settings, url) for url in urls))
    warnings = []
    for url, known in zip(urls, answers, strict=True):
        if isinstance(known, str):
            warnings.append(f"{url}/models {known}; the rollouts are queued and will be tried")
        elif known and model not in known:
            found = unknown("model", model, known, f"Endpoint: {url}")
            raise Problem(422, found.kind, found.detail, **found.extra)
    return warnings


async def served(settings: Settings, url: str) -> tuple[str, ...] | str:
    """The models that `GET {url}/models` lists; where it lists none, what it does instead."""
    key = key_for(settings, url)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        async with httpx.AsyncClient(timeout=ASK_SECONDS) as http:
            response = await http.get(f"{url.rstrip('/')}/models", headers=headers)
            response.raise_for_status()
            return tuple(str(model["id"]) for model in response.json()["data"])
    except httpx.HTTPStatusError as e:
        return f"answered {e.response.status_code}"
    except httpx.HTTPError as e:
        return f"does not answer now ({type(e).__name__})"
    except (ValueError, KeyError, TypeError):
        return "answered with no list of models"
