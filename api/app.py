"""The FastAPI application: which routes there are and what stands around each of them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import version

from fastapi import Depends, FastAPI
from fastapi.staticfiles import StaticFiles

from api import problems
from api.access import Access, SafeHeaders
from api.dashboard.pages import HERE, problem_page
from api.dashboard.pages import router as dashboard
from api.openapi import schema_of
from api.routes import (
    compilations,
    datasets,
    endpoints,
    environments,
    events,
    health,
    metrics,
    rollouts,
    runs,
    task_sets,
)
from api.routes.parts import known_parameters, plain_body
from api.service import Service

CHECKS = (Depends(plain_body), Depends(known_parameters))
THREADS = 64
"""For requests, most of which wait for the database. As many as there are processors would all soon wait for one long
writer, and readers, who need not, with them."""
Lifespan = Callable[[Service], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def nothing_runs(_: Service) -> AsyncIterator[None]:
    """A service that queues and serves, and leaves the work to workers elsewhere."""
    yield


def create_app(service: Service, work: Lifespan = nothing_runs) -> FastAPI:
    """`work` is what runs beside the routes for as long as the app lives."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS, thread_name_prefix="request"))
        async with work(service):
            yield

    app = FastAPI(
        title="trajc",
        version=version("trajc"),
        description="Queue rollouts, read their trajectories, compile them, download datasets.",
        lifespan=lifespan,
        docs_url=None,  # those pages load scripts from elsewhere; /openapi.json is what they show
        redoc_url=None,
    )
    app.state.service = service
    problems.install(app, problem_page)
    app.add_middleware(Access, keys=service.settings.api_keys)
    app.add_middleware(SafeHeaders)
    for module in (runs, rollouts, endpoints, task_sets, environments, compilations, datasets, events):
        app.include_router(module.router, prefix="/v1", dependencies=CHECKS)
    app.include_router(rollouts.trajectories, prefix="/v1", dependencies=CHECKS)
    app.include_router(health.router)
    app.include_router(metrics.router)
    app.include_router(dashboard)
    app.mount("/static", StaticFiles(directory=HERE / "static"))
    app.openapi = schema_of(  # type: ignore[method-assign]
        app, (runs.RunRequest, compilations.CompilationRequest, endpoints.EndpointRequest)
    )
    return app
