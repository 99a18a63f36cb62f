"""`trajc cancel`."""

from typing import Annotated, Any

import typer

from api.cli.terminal import emit, fail, plain_errors, settings, write

KINDS = {"run_": "runs", "ro_": "rollouts", "comp_": "compilations"}
"""The first part of an id, and where its kind is on the service."""


def cancel(
    id: Annotated[str, typer.Argument(help="A run (run_...), a rollout (ro_...) or a compilation (comp_...).")],
    url: Annotated[str | None, typer.Option(help="The service. Default: TRAJC_URL.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")] = False,
) -> None:
    """End it for good. What has ended stays as it is; what models replied is kept."""
    from api.client import connect

    kind = next((where for start, where in KINDS.items() if id.startswith(start)), None)
    if kind is None:
        fail(f"{id!r} is neither a run (run_...), nor a rollout (ro_...), nor a compilation (comp_...)", 2)
    with plain_errors(), connect(settings(), url) as client:
        ended = client.post(f"/v1/{kind}/{id}/cancel")
    if as_json:
        emit(ended)
    else:
        write(f"{id}: {state_of(ended)}")


def state_of(ended: Any) -> str:
    """Of a run: a done one was not cancelled by this."""
    if "cancel_requested" not in ended:
        return str(ended["state"])
    return "cancelled" if ended["cancel_requested"] else "done already, and stays so"
