"""`trajc serve`, `trajc oracle` and `trajc doctor`."""

from pathlib import Path
from typing import Annotated

import typer

from api.cli.terminal import emit, fail, plain_errors, say, settings


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on. Default: TRAJC_HOST or 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes a free one. Default: TRAJC_PORT or 8420.")] = None,
) -> None:
    """Queue, run, compile and serve in one process, on SQLite and local files unless settings say otherwise."""
    from api.server import NotOpen, run_server

    wanted = settings()
    changed = {k: v for k, v in (("host", host), ("port", port)) if v is not None}
    try:
        run_server(wanted.model_copy(update=changed), say)
    except NotOpen as e:
        fail(str(e), 2)


def oracle(
    tasks: Annotated[list[Path], typer.Argument(help="Task files with references.", exists=True, dir_okay=False)],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.")] = 8000,
    recording: Annotated[list[Path] | None, typer.Option(help="Recorded actions to play (JSON lines).")] = None,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.")] = 0,
    latency: Annotated[float, typer.Option(min=0, help="Mean seconds before an answer.")] = 0.0,
    wrong: Annotated[float, typer.Option(min=0, max=1, help="Share of samples with a near miss.")] = 0.0,
    detours: Annotated[float, typer.Option(min=0, max=1, help="Share of turns with a needless step.")] = 0.0,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND=SHARE", help="rate_limited, server_error, reset, hang, malformed or unparsed; again for more."
        ),
    ] = None,
) -> None:
    """An OpenAI-compatible server that solves tasks from their references: for demos, tests and load."""
    from api.oracle import Faults, OracleSettings, load_recordings, load_tasks, serve

    with plain_errors():
        try:
            faults = Faults(**{kind: float(share) for kind, _, share in (f.partition("=") for f in fault or ())})
            wanted = OracleSettings(seed=seed, latency=latency, wrong=wrong, detours=detours, faults=faults)
            known = load_tasks(*tasks)
            recordings = [one for path in recording or () for one in load_recordings(path)]
        except (ValueError, TypeError) as e:
            fail(str(e), 2)
        say(f"the oracle knows {len(known)} tasks; its model is called {wanted.model}")
        serve(wanted, known, host, port, recordings)


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False) -> None:
    """Say what is missing on this machine and how to get it. Exits 1 if something is."""
    from api.doctor import examine

    findings = list(examine(settings()))
    if as_json:
        emit([vars(f) for f in findings])
    else:
        for f in findings:
            print(f"{f.state:8} {f.what:15} {f.words}")
            if f.way_out and f.state != "ok":
                print(f"{'':24} {f.way_out}")
    if any(f.state == "missing" for f in findings):
        raise typer.Exit(1)
