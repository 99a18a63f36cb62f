"""`trajc serve` and `trajc doctor`."""

from typing import Annotated

import typer

from api.cli.terminal import emit, fail, say, settings, write


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on. Default: TRAJC_HOST or 127.0.0.1.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port; 0 takes a free one. Default: TRAJC_PORT or 8420.")
    ] = None,
) -> None:
    """Queue, run, compile and serve in one process, on SQLite and local files unless settings say otherwise."""
    from api.server import run_server
    from api.service import NotOpen

    wanted = settings()
    changed = {k: v for k, v in (("host", host), ("port", port)) if v is not None}
    try:
        run_server(wanted.model_copy(update=changed), say)
    except NotOpen as e:
        fail(str(e), 2)


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False) -> None:
    """Say what is missing on this machine and how to get it. Exits 1 if something is."""
    from api.doctor import examine

    findings = list(examine(settings()))
    if as_json:
        emit([vars(f) for f in findings])
    else:
        for f in findings:
            write(f"{f.state:8} {f.what:15} {f.words}")
            if f.way_out and f.state != "ok":
                write(f"{'':24} {f.way_out}")
    if any(f.state == "missing" for f in findings):
        raise typer.Exit(1)
