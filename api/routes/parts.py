"""What routes share: the service, pages by cursor."""

from typing import Annotated, Any

from fastapi import Depends, Query, Request

from api.service import Service
from rollout.runs import Page

Limit = Annotated[int, Query(ge=1, le=1000, description="Rows on one page.")]
Cursor = Annotated[str | None, Query(description="`next` of the page before.")]


def the_service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


TheService = Annotated[Service, Depends(the_service)]


def page_of(page: Page[Any], items: list[dict[str, Any]]) -> dict[str, Any]:
    """A list is never cut silently: `next` is null only at its end."""
    return {"items": items, "next": page.next}


def all_of(items: list[dict[str, Any]]) -> dict[str, Any]:
    """The same shape for lists that are short enough to come whole."""
    return {"items": items, "next": None}
