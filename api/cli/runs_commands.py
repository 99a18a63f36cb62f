"""`trajc runs ...`: the runs of a service."""

from typing import Annotated

import typer

from api.cli.accounts import in_words
from api.cli.terminal import emit, plain_errors, settings, write

app = typer.Typer(help="List runs, and show how one comes along.", no_args_is_help=True)
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Url = Annotated[str | None, typer.Option(help="The service. Default: TRAJC_URL.")]


@app.command("list")
def list_runs(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="The newest so many.")] = 20,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """The newest runs with their accounts."""
    from api.client import connect

    with plain_errors(), connect(settings(), url) as client:
        page = client.get("/v1/runs", limit=limit)
    if as_json:
        emit(page)
        return
    for run in page["items"]:
        write(f"{in_words(run)}  {run['name']}".rstrip())
    if page["next"]:
        write("... and older ones")


@app.command("show")
def show(id: Annotated[str, typer.Argument(help="A run (run_...).")], url: Url = None, as_json: AsJson = False) -> None:
    """A run's accounts, rates, time left, tokens by endpoint, and failures by class."""
    from api.cli.inspect import show_run
    from api.client import connect

    with plain_errors(), connect(settings(), url) as client:
        show_run(client, id, as_json)
