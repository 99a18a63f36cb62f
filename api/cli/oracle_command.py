"""`trajc oracle`: the oracle's settings as flags."""

import os
import socket
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from api.cli.terminal import fail, plain_errors, say

if TYPE_CHECKING:
    from api.oracle import Faults


def oracle(
    tasks: Annotated[list[Path], typer.Argument(help="Task files with references.", exists=True, dir_okay=False)],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    recording: Annotated[list[Path] | None, typer.Option(help="Recorded actions to play (JSON lines).")] = None,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.")] = 0,
    latency: Annotated[float, typer.Option(min=0, help="Mean seconds before an answer.")] = 0.0,
    jitter: Annotated[float, typer.Option(min=0, help="Largest deviation from it, in seconds.")] = 0.0,
    retry_after: Annotated[float, typer.Option(min=0, help="Seconds that a 429 names.")] = 1.0,
    wrong: Annotated[float, typer.Option(min=0, max=1, help="Share of samples with a near miss.")] = 0.0,
    detours: Annotated[float, typer.Option(min=0, max=1, help="Share of turns with a needless step.")] = 0.0,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND=SHARE", help="rate_limited, server_error, reset, hang, malformed or unparsed; again for more."
        ),
    ] = None,
    reasoning: Annotated[
        Literal["none", "field", "think"], typer.Option(help="Whether thoughts are told, and where.")
    ] = "none",
    teacher_reads: Annotated[
        bool, typer.Option(help="Asked as a teacher, answer only what follows from the prompt.")
    ] = False,
    planted: Annotated[
        Path | None,
        typer.Option(
            help="What it knows of single tasks when asked without tools (JSON: task id -> knows, needs, refuses)."
        ),
    ] = None,
    slots: Annotated[int | None, typer.Option(min=1, help="Requests answered at once. Default: no bound.")] = None,
    kv_tokens: Annotated[int, typer.Option(min=1, help="Tokens that fill the KV cache of /metrics.")] = 1_000_000,
    context_length: Annotated[
        int | None, typer.Option(min=1, help="Prompt tokens above which a request is refused. Default: no bound.")
    ] = None,
) -> None:
    """An OpenAI-compatible server that solves tasks from their references: for demos, tests and load."""
    from api.oracle import OracleSettings, load_planted, load_recordings, load_tasks, serve

    with plain_errors():
        try:
            wanted = OracleSettings(
                seed=seed,
                latency=latency,
                jitter=jitter,
                retry_after=retry_after,
                wrong=wrong,
                detours=detours,
                faults=faults_of(fault or ()),
                reasoning=reasoning,
                teacher_reads=teacher_reads,
                planted=None if planted is None else load_planted(planted),
                slots=slots,
                kv_tokens=kv_tokens,
                context_length=context_length,
            )
            known = load_tasks(*tasks)
            recordings = [one for path in recording or () for one in load_recordings(path)]
        except (ValueError, TypeError) as e:
            fail(str(e), 2)
        try:
            socket.create_server((host, port)).close()
        except OSError as e:
            fail(
                f"cannot listen on {host}:{port}: {os.strerror(e.errno or 0)}; --port names another, or 0",
                2,
            )
        say(f"the oracle knows {len(known)} tasks; its model is called {wanted.model}")
        serve(wanted, known, host, port, recordings)


def faults_of(given: Sequence[str]) -> "Faults":
    """Raises `ValueError` naming the flag and the known kinds."""
    from api.oracle import Faults

    kinds = [one.name for one in fields(Faults)]
    shares = {}
    for pair in given:
        kind, _, share = pair.partition("=")
        try:
            shares[kind] = float(share)
        except ValueError:
            raise ValueError(f"--fault {pair}: it takes KIND=SHARE, such as {kinds[0]}=0.1") from None
        if kind not in kinds:
            raise ValueError(f"--fault {pair}: unknown kind {kind!r}; known: {', '.join(kinds)}")
    return Faults(**shares)
