"""`trajc worker rollouts`, `generation` and `compile`: processes that do what a service with Redis queues."""

from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.terminal import fail, say, settings

if TYPE_CHECKING:
    from api.carrier.worker import Work

app = typer.Typer(help="Work for a service that has a Redis (TRAJC_REDIS_URL).", no_args_is_help=True)


@app.command()
def rollouts(
    concurrency: Annotated[
        int | None, typer.Option(min=1, help="Rollouts in flight at once. Default: TRAJC_CONCURRENCY.")
    ] = None,
) -> None:
    """Run rollouts. SIGTERM ends it within TRAJC_SHUTDOWN_SECONDS; what is not done by then is handed back."""
    work("rollouts", concurrency or settings().concurrency)


@app.command()
def generation(
    concurrency: Annotated[
        int | None, typer.Option(min=1, help="Model calls in flight at once. Default: TRAJC_CONCURRENCY.")
    ] = None,
) -> None:
    """Ask the models of recipes (teachers, audits) and score what they reply. SIGTERM ends it as it does rollouts."""
    work("generation", concurrency or settings().concurrency)


@app.command()
def compile(
    concurrency: Annotated[
        int | None, typer.Option(min=1, help="Compilations at once, a process each. Default: TRAJC_COMPILE_WORKERS.")
    ] = None,
) -> None:
    """Compile datasets. SIGTERM hands back what is not done within TRAJC_SHUTDOWN_SECONDS."""
    work("compile", concurrency or settings().compile_workers)


def work(what: "Work", concurrency: int) -> None:
    known = settings()
    if known.redis_url is None:
        fail(
            "TRAJC_REDIS_URL is not set: workers need the Redis and the database that the service uses; "
            "without a Redis `trajc serve` does the work itself",
            2,
        )
    from api.carrier.worker import run_worker
    from api.service import NotOpen, open_service

    try:
        with open_service(known):
            pass  # a worker's children would say it once each, and only in their log
    except NotOpen as e:
        fail(str(e), 2)
    say(f"trajc works on {what}, {concurrency} at once (home {known.home})")
    raise typer.Exit(run_worker(known, what, concurrency))
