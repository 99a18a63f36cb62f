"""Which model endpoints a run uses, and whether they know its model."""

import asyncio
from collections.abc import Iterable, Sequence

import httpx
import orjson

from api.model_keys import key_for
from api.problems import Problem, unknown
from api.settings import Settings
from rollout.endpoints import EndpointEntry
from rollout.reply import without_v1

ASK_SECONDS = 5.0
LONGEST = 4 << 20
"""Bytes of a list of models."""


def endpoints_of(
    settings: Settings, entries: Iterable[EndpointEntry], model: str, named: Sequence[str], run: str = ""
) -> tuple[EndpointEntry, ...]:
    """Who may be asked for a run: the endpoints that it names, or else those of the settings and those that were added
    for all runs; then those that were added for it alone; without those that were removed."""
    entries = tuple(entries)
    of_all = {e.base_url: e for e in entries if not e.run}
    of_run = {e.base_url: e for e in entries if run and e.run == run}
    urls = list(named)
    if not named:
        urls += [url for url in settings.base_url if url not in of_all or of_all[url].model in ("", model)]
        urls += [url for url, e in of_all.items() if e.model in ("", model) and not (e.removed or url in urls)]
    found = {}
    for url in dict.fromkeys(one.rstrip("/") for one in (*urls, *of_run)):
        one = of_run.get(url) or of_all.get(url) or EndpointEntry(url)
        if not one.removed:
            found[url] = one
    return tuple(found.values())


def urls_of(
    settings: Settings, named: Sequence[str], entries: Iterable[EndpointEntry] = (), model: str = ""
) -> tuple[str, ...]:
    """Raises `Problem` where there is no endpoint to ask."""
    entries = tuple(entries)
    urls = tuple(one.base_url for one in endpoints_of(settings, entries, model, named))
    if not urls:
        wanted = {url.rstrip("/") for url in named or settings.base_url}
        if removed := [e.base_url for e in entries if e.removed and not e.run and e.base_url in wanted]:
            words = f"{', '.join(removed)} was removed, and is asked by nobody until it is added again"
            raise Problem(422, "no-endpoint", f"{words}: `trajc endpoints add {removed[0]}`")
        if others := sorted({e.model for e in entries if not (e.removed or e.run)}):
            words = f"the endpoints that were added are not for the model {model!r}, but for {', '.join(others)}"
            raise Problem(422, "no-endpoint", f"{words}: name one with --base-url (base_urls), or add one")
        raise Problem(
            422,
            "no-endpoint",
            "no model endpoint: give the run base_urls (--base-url), add one (`trajc endpoints add`), or start the "
            "service with TRAJC_BASE_URL; `trajc oracle` starts one that needs no model",
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
        async with (
            asyncio.timeout(2 * ASK_SECONDS),  # httpx has one for each read only
            # Without HTTP_PROXY, as models are asked.
            httpx.AsyncClient(timeout=ASK_SECONDS, transport=httpx.AsyncHTTPTransport()) as http,
            http.stream("GET", f"{url.rstrip('/')}/models", headers=headers) as response,
        ):
            response.raise_for_status()
            said = bytearray()
            async for part in response.aiter_bytes():
                said += part
                if len(said) > LONGEST:
                    return "answered with no list of models"
        return tuple(str(model["id"]) for model in orjson.loads(said)["data"])
    except httpx.HTTPStatusError as e:
        status = e.response.status_code
        if status in (401, 403):
            return f"answered {status} (a key comes from TRAJC_MODEL_KEY, or from the file of TRAJC_MODEL_KEYS)"
        return f"answered {status}{without_v1(status, url)}"
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as e:
        return f"does not answer now ({type(e).__name__})"
    except (ValueError, KeyError, TypeError):
        return "answered with no list of models"
