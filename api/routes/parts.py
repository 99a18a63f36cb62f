"""What routes share: the service, pages by cursor."""

import re
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends, Query, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import AfterValidator

from api.problems import Problem
from api.service import Service
from rollout.runs import Page

MOST = 2**31 - 1
"""What every database of ours keeps as a whole number."""
Limit = Annotated[int, Query(ge=1, le=1000, description="Rows on one page.")]
Position = Annotated[str | None, Query(alias="cursor", description="`next` of the page before.")]
"""The cursor of a list in a file: how many rows stand before the page."""


def _id_of(prefix: str) -> Callable[[str | None], str | None]:
    """A cursor of somebody else's would compare with the ids somehow and leave rows out. Raises `Problem`."""

    def checked(cursor: str | None) -> str | None:
        if cursor is not None and not re.fullmatch(f"{prefix}_[0-9a-f]{{32}}", cursor):
            raise Problem(400, "bad-cursor", f"cursor {cursor!r} is none of this list: use `next` of the page before")
        return cursor

    return checked


_PLACE = Query(description="`next` of the page before.")
RunCursor = Annotated[str | None, _PLACE, AfterValidator(_id_of("run"))]
"""The cursor of a list in the database: the id of the row before the page."""
RolloutCursor = Annotated[str | None, _PLACE, AfterValidator(_id_of("ro"))]
CompilationCursor = Annotated[str | None, _PLACE, AfterValidator(_id_of("comp"))]


def the_service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


TheService = Annotated[Service, Depends(the_service)]


def known_parameters(request: Request) -> None:
    """A filter that is misspelt would filter nothing, without a word. Raises `Problem`."""
    route: APIRoute = request.scope["route"]
    known = sorted(names_of(route.dependant))
    if wrong := [name for name in request.query_params if name not in known]:
        there = f"it has {', '.join(known)}" if known else "it has none"
        words = f"{request.method} {request.url.path} has no query parameter {', '.join(map(repr, wrong))}; {there}"
        raise Problem(422, "unknown-parameter", words, known=known)


def plain_body(request: Request) -> None:
    """What is bounded is what arrives: nothing is unpacked here. Raises `Problem`."""
    coding = request.headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("", "identity"):
        words = f"the body comes as {coding[:40]}: send it as it is, without Content-Encoding"
        raise Problem(415, "content-encoding", words)


def names_of(dependant: Dependant) -> set[str]:
    below = (names_of(one) for one in dependant.dependencies)
    return {field.alias for field in dependant.query_params}.union(*below)


def page_of(page: Page[Any], items: list[dict[str, Any]]) -> dict[str, Any]:
    """A list is never cut silently: `next` is null only at its end."""
    return {"items": items, "next": page.next}


def all_of(items: list[dict[str, Any]]) -> dict[str, Any]:
    """The same shape for lists that are short enough to come whole."""
    return {"items": items, "next": None}
