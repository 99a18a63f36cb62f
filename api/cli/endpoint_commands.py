"""`trajc endpoints ...`: the model endpoints of a running service."""

from typing import Annotated, Any

import typer

from api.cli.progress_words import of_endpoint
from api.cli.terminal import emit, plain_errors, say, settings, write

app = typer.Typer(help="List, add and remove model endpoints while runs go on.", no_args_is_help=True)
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Url = Annotated[str | None, typer.Option(help="The service. Default: TRAJC_URL.")]
Run = Annotated[str | None, typer.Option(help="For this run alone.")]
BaseUrl = Annotated[str, typer.Argument(help="Base URL, ending in /v1.")]


@app.command("list")
def list_endpoints(url: Url = None, as_json: AsJson = False) -> None:
    """Which endpoints there are, who named them, and how they do."""
    from api.client import connect

    with plain_errors(), connect(settings(), url) as client:
        items = client.get("/v1/endpoints")["items"]
    if as_json:
        emit(items)
        return
    if not items:
        say("no endpoint yet: add one (`trajc endpoints add URL`), or let runs name their own")
    for one in items:
        write(f"{one['base_url']}  {in_words(one)}")


@app.command("add")
def add(
    base_url: BaseUrl,
    model: Annotated[str | None, typer.Option(help="The only model it is asked for. Default: any.")] = None,
    run: Run = None,
    slots: Annotated[
        int | None, typer.Option(min=1, help="Calls in flight to begin with, in each process. Default: as set.")
    ] = None,
    at_once: Annotated[int | None, typer.Option(min=1, help="Calls in flight at most, over all processes.")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Every process asks it within seconds. An endpoint that is there gets what is given here.

    Its API key is TRAJC_MODEL_KEY, or what the file of TRAJC_MODEL_KEYS names for its URL.
    """
    from api.client import connect

    body = {"base_url": base_url, "model": model, "run": run, "slots": slots, "at_once": at_once}
    with plain_errors(), connect(settings(), url) as client:
        made = client.post("/v1/endpoints", {k: v for k, v in body.items() if v is not None})
    for warning in made["warnings"]:
        say(warning)
    emit(made) if as_json else write(f"{made['base_url']} was added")


@app.command("remove")
def remove(base_url: BaseUrl, run: Run = None, url: Url = None, as_json: AsJson = False) -> None:
    """Nobody asks it any more, whoever named it. Its calls in flight finish; its rollouts alone go elsewhere."""
    from api.client import connect

    params = {"base_url": base_url} | ({"run": run} if run else {})
    with plain_errors(), connect(settings(), url) as client:
        gone = client.call("DELETE", "/v1/endpoints", params=params)
    emit(gone) if as_json else write(f"{gone['base_url']} was removed")


def in_words(one: dict[str, Any]) -> str:
    """One endpoint on one line."""
    use = one["use"]
    facts = ["removed"] if one["removed"] else []
    facts += [f"for {one['run']}"] if one["run"] else []
    facts += [f"model {one['model']}"] if one["model"] else []
    facts += [f"{use['in_flight']} in flight of {use['slots'] or one['slots']} slots"]
    facts += [f"at most {one['at_once']}"] if one["at_once"] else []
    facts += ["has a key"] if one["has_key"] else []
    facts.append(of_endpoint(use))
    return "; ".join(facts)
