"""Errors as RFC 9457 problem details: one shape for everything that a caller did wrong."""

import difflib
import errno
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from sqlalchemy.exc import DataError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnection
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import compile_path

from envs.errors import TrajcError
from rollout.database import Conflict, NotFound

log = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"
TITLES = {
    400: "Bad request",
    401: "Not authorised",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    413: "Too large",
    415: "Unsupported media type",
    416: "Range not satisfiable",
    422: "Not valid",
    500: "Our fault",
    503: "Not ready",
}
DATABASE = "start it, or free some disk, then ask again"
LOCKED = "another process keeps it from being written; end that one (a backup, a sqlite3 shell?), or ask again later"


class Problem(Exception):
    """`detail` is a sentence that names the thing and the way out; `extra` are further members of the body."""

    def __init__(self, status: int, kind: str, detail: str, **extra: Any) -> None:
        super().__init__(detail)
        self.status, self.kind, self.detail, self.extra = status, kind, detail, extra

    def response(self, headers: Mapping[str, str] | None = None) -> JSONResponse:
        body = {
            "type": f"urn:trajc:problem:{self.kind}",
            "title": TITLES.get(self.status, "Error"),
            "status": self.status,
            "detail": self.detail,
            **self.extra,
        }
        return JSONResponse(body, self.status, headers, MEDIA_TYPE)


def unknown(kind: str, name: str, known: Iterable[str], way_out: str = "") -> Problem:
    """404 that names what there is, nearest first."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3)
    ordered = near + [n for n in names if n not in near]
    listed = ", ".join(ordered[:20]) or "none yet"
    more = f" and {len(ordered) - 20} more" if len(ordered) > 20 else ""
    detail = f"unknown {kind} {name!r}; known: {listed}{more}"
    return Problem(404, unknown_type(kind), f"{detail}. {way_out}".rstrip(". ") + ".", known=ordered)


def from_not_found(error: NotFound) -> Problem:
    if error.known:
        return unknown(error.what, error.id, error.known)
    return Problem(404, unknown_type(error.what), f"no {error.what} {error.id!r}")


def unknown_type(kind: str) -> str:
    """Of what kind, not of which one: `version of dataset x` is a version."""
    return f"unknown-{kind.partition(' of ')[0].replace(' ', '-')}"


def no_such_path(path: str, known: Iterable[str]) -> Problem:
    near = difflib.get_close_matches(path, known, n=3)
    nearest = f" The nearest: {', '.join(near)}." if near else ""
    return Problem(
        404, "unknown-path", f"There is nothing at {path}.{nearest} /openapi.json lists the API; / is the dashboard."
    )


def methods_of(path: str, paths: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Those that any of the schema's paths which match this one takes."""
    return sorted({m.upper() for form, item in paths.items() if compile_path(form)[0].match(path) for m in item})


def install(app: FastAPI, page: Callable[[Problem], str] | None = None) -> None:
    """`page` is what a browser is shown of a problem, as HTML; without it, as for every other caller, it is JSON."""

    def shown(request: Request, problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
        if page is None or request.url.path.startswith("/v1") or "text/html" not in request.headers.get("accept", ""):
            return problem.response(headers)
        return HTMLResponse(page(problem), problem.status, headers)

    @app.exception_handler(Problem)
    async def _problem(request: Request, error: Problem) -> Response:
        return shown(request, error)

    @app.exception_handler(NotFound)
    async def _not_found(request: Request, error: NotFound) -> Response:
        return shown(request, from_not_found(error))

    @app.exception_handler(Conflict)
    async def _conflict(request: Request, error: Conflict) -> Response:
        return shown(request, Problem(409, "conflict", f"{error}."))

    @app.exception_handler(TrajcError)
    async def _ours(request: Request, error: TrajcError) -> Response:
        return shown(request, Problem(422, error.failure.replace("_", "-"), str(error)))

    @app.exception_handler(OperationalError)
    async def _database(request: Request, error: OperationalError) -> Response:
        words = str(error.orig or error).strip().partition("\n")[0]
        words = LOCKED if words == "database is locked" else f"{words}; {DATABASE}"
        return shown(request, Problem(503, "database", f"the database cannot be used now: {words}"))

    @app.exception_handler(ClientDisconnect)
    async def _cut_off(request: Request, error: ClientDisconnect) -> Response:  # noqa: ARG001
        """As a rule nobody is there to read it."""
        return shown(request, Problem(400, "cut-off", "the body ended too early; nothing of it is kept: send it again"))

    @app.exception_handler(DataError)
    async def _unkeepable(request: Request, error: DataError) -> Response:
        words = str(error.orig or error).strip().partition("\n")[0]
        log.warning("%s %s: %s", request.method, request.url.path, words)
        detail = f"the request holds what the database cannot keep or look for: {words}"
        return shown(request, Problem(422, "not-keepable", detail))

    @app.exception_handler(NoConnection)
    async def _crowded(request: Request, error: NoConnection) -> Response:  # noqa: ARG001
        words = "the database cannot be used now: too many wait for it; ask again later"
        return shown(request, Problem(503, "database", words))

    @app.exception_handler(OSError)
    async def _disk(request: Request, error: OSError) -> Response:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise error
        return shown(
            request, Problem(503, "disk-full", f"{error.strerror}: free some disk for TRAJC_HOME, then ask again")
        )

    @app.exception_handler(Exception)
    async def _fault(request: Request, error: Exception) -> Response:
        return shown(
            request, Problem(500, "fault", f"a fault of ours ({type(error).__name__}); the service's log has it")
        )

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> Response:
        faults = [{"field": ".".join(str(p) for p in e["loc"]), "message": e["msg"]} for e in error.errors()]
        words = "; ".join(f"{f['field']}: {f['message']}" for f in faults)
        return shown(request, Problem(422, "not-valid", words, faults=faults))

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        paths = request.app.openapi()["paths"]
        if error.status_code == 404:
            return shown(request, no_such_path(request.url.path, paths))
        if error.status_code == 405:
            allowed = methods_of(request.url.path, paths) or ["GET"]  # what the schema leaves out are pages to look at
            words = f"{request.url.path} does not take {request.method}; it takes {', '.join(allowed)}."
            return shown(request, Problem(405, "method", words), {"Allow": ", ".join(allowed)})
        return shown(request, Problem(error.status_code, "http", str(error.detail)), error.headers)
