"""Datasets: names, immutable versions, their files with ETag and Range, their examples back to the trajectory."""

import asyncio
import re
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse

from api.dataset_files import PublishedFile, files_of, find_file, find_version, folder_of
from api.examples import find_example, list_examples
from api.problems import Problem
from api.routes.parts import Limit, Position, TheService, all_of, page_of
from api.service import Service
from rollout.database import NotFound
from rollout.runs import DatasetVersion

BYTES: dict[str, Any] = {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
SPAN = re.compile(r"(?=\d|-\d)(\d{0,18})-(\d{0,18})", re.ASCII)
RANGES = re.compile(rf"bytes={SPAN.pattern}(?:[ \t]*,[ \t]*{SPAN.pattern})*", re.ASCII | re.IGNORECASE)

router = APIRouter(prefix="/datasets", tags=["datasets"])


@router.get("")
async def list_datasets(service: TheService) -> dict[str, Any]:
    names = await asyncio.to_thread(service.store.datasets)
    return all_of([await asyncio.to_thread(dataset_view, service, name) for name in names])


@router.get("/{name}")
async def one_dataset(name: str, service: TheService) -> dict[str, Any]:
    return await asyncio.to_thread(dataset_view, service, name)


@router.get("/{name}/versions/{version}")
async def one_version(name: str, version: str, service: TheService) -> dict[str, Any]:
    """`latest` is the newest version. `manifest` is the file manifest.json."""

    def view() -> dict[str, Any]:
        found = find_version(service, name, version)
        files = [{"path": f.path, "size": f.size, "sha256": f.sha256} for f in files_of(service, found)]
        return {**version_view(found), "files": files, "manifest": found.manifest}

    return await asyncio.to_thread(view)


@router.head("/{name}/versions/{version}/files/{path:path}", include_in_schema=False)
@router.get(
    "/{name}/versions/{version}/files/{path:path}",
    operation_id="dataset_file",
    response_class=FileResponse,
    responses={200: BYTES},
)
async def file(name: str, version: str, path: str, request: Request, service: TheService) -> Response:
    found = await asyncio.to_thread(lambda: find_file(service, find_version(service, name, version), path))
    return serve(found, request, "private" if service.settings.api_keys else "public")


@router.get("/{name}/versions/{version}/examples")
async def examples(
    name: str, version: str, service: TheService, cursor: Position = None, limit: Limit = 100
) -> dict[str, Any]:
    def find() -> dict[str, Any]:
        folder = folder_of(service, find_version(service, name, version))
        found = list_examples(folder, cursor, limit)
        return page_of(found, list(found.items))

    return await asyncio.to_thread(find)


@router.get("/{name}/versions/{version}/examples/{id}")
async def example(name: str, version: str, id: str, service: TheService) -> dict[str, Any]:
    """With the rollout that it came from, where that is ours and still kept."""

    def find() -> dict[str, Any]:
        row = find_example(folder_of(service, find_version(service, name, version)), id)
        return {**row, "rollout": rollout_of(service, row["trajectory"])}

    return await asyncio.to_thread(find)


def dataset_view(service: Service, name: str) -> dict[str, Any]:
    versions = service.store.versions(name)
    return {"name": name, "latest": versions[0].version, "versions": [version_view(v) for v in versions]}


def version_view(version: DatasetVersion) -> dict[str, Any]:
    return {
        "name": version.dataset,
        "version": version.version,
        "created": version.created,
        "compilation": version.compilation,
        "accounts": version.manifest["accounts"],
        "statistics": version.manifest["statistics"],
    }


def rollout_of(service: Service, trajectory: str) -> str | None:
    try:
        return service.store.trajectory_row(trajectory).rollout
    except NotFound:
        return None


def serve(found: PublishedFile, request: Request, kept_by: str) -> Response:
    """A version's files never change, so their checksum is the ETag and they may be kept for ever: by everybody's
    caches (`public`), or only by those of who may ask for them (`private`)."""
    headers = {
        "ETag": found.etag,
        "Cache-Control": f"{kept_by}, max-age=31536000, immutable",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox",
    }
    if is_known(request.headers.get("if-none-match", ""), found.etag):
        return Response(status_code=304, headers=headers)
    if not is_range(request.headers.get("range", "")):
        request.scope["headers"] = [(name, value) for name, value in request.scope["headers"] if name != b"range"]
    elif starts_behind(request.headers.get("range", ""), found.size) and request.headers.get("if-range") is None:
        detail = f"{found.path} has {found.size} bytes; the range asked for begins behind its end"
        problem = Problem(416, "range-not-satisfiable", detail, size=found.size)
        return problem.response({"Content-Range": f"bytes */{found.size}"})
    return FileResponse(found.at, headers=headers, media_type=found.media_type)


def is_known(if_none_match: str, etag: str) -> bool:
    """Weak comparison, as If-None-Match asks for."""
    tags = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    return "*" in tags or etag in tags


def is_range(header: str) -> bool:
    """One that cannot be read counts as none: the whole file then comes."""
    spans = [(first, last) for first, last in SPAN.findall(header) if first and last]
    return bool(RANGES.fullmatch(header)) and all(int(first) <= int(last) for first, last in spans)


def starts_behind(range_header: str, size: int) -> bool:
    """For one plain range `bytes=N-...`; every other form is left to the file response."""
    unit, _, spec = range_header.partition("=")
    first = spec.partition("-")[0].strip()
    return unit.strip().lower() == "bytes" and "," not in spec and first.isdecimal() and int(first) >= size
