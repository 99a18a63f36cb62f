"""`trajc run` and `trajc inspect`."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from api.cli.accounts import in_words
from api.cli.terminal import emit, fail, goes_on, plain_errors, say, settings, write

if TYPE_CHECKING:
    from api.client import Client

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Url = Annotated[str | None, typer.Option(help="The service. Default: TRAJC_URL.")]
POLL_SECONDS = 0.5


def run(
    tasks: Annotated[str, typer.Argument(help="A task file (JSON lines), or the name of a task set.")],
    env: Annotated[str, typer.Option("--env", help="Environment: search, swe, sql ...")],
    model: Annotated[str | None, typer.Option(help="Model name. Default: TRAJC_MODEL.")] = None,
    base_url: Annotated[list[str] | None, typer.Option(help="Endpoint ending in /v1; may be given again.")] = None,
    samples: Annotated[int, typer.Option(min=1, help="Rollouts of each task.")] = 1,
    temperature: Annotated[float | None, typer.Option(help="Sampling temperature.")] = None,
    sampling: Annotated[str | None, typer.Option(help="Further sampling parameters, a JSON object.")] = None,
    max_turns: Annotated[int | None, typer.Option(min=1, help="In place of the tasks' own limit.")] = None,
    calls_at_once: Annotated[
        int | None, typer.Option(min=1, help="Model calls in flight at once, over all processes.")
    ] = None,
    max_attempts: Annotated[int, typer.Option(min=1, help="Of a rollout, before a class of failure stands.")] = 3,
    name: Annotated[str, typer.Option(help="A name for people.")] = "",
    recipe: Annotated[
        Path | None, typer.Option(help="Compile with this recipe file when done.", dir_okay=False)
    ] = None,
    wait: Annotated[bool, typer.Option(help="Wait for the end.")] = True,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Queue rollouts and follow them. Exits 1 if the accounts do not close, 3 if rollouts failed or were cancelled."""
    from api.client import connect

    known = settings()
    spec: dict[str, Any] = {"environment": env, "model": model or known.model, "samples": samples, "name": name}
    if spec["model"] is None:
        fail("which model? name one with --model, or set TRAJC_MODEL", 2)
    spec |= {"base_urls": base_url or [], "max_attempts": max_attempts}
    spec["sampling"] = sampling_of(sampling, temperature)
    if calls_at_once is not None:
        spec["calls_at_once"] = calls_at_once
    if max_turns is not None:
        spec["limits"] = {"max_turns": max_turns}
    with plain_errors(), connect(known, url) as client:
        if recipe is not None:
            spec["recipe"] = recipe_fields(recipe)
        queued = queue(client, spec, tasks)
        with goes_on(id := queued["id"]):
            say(f"run {id}: {queued['accounts']['submitted']} rollouts queued; {client.url}/runs/{id}")
            for warning in queued["warnings"]:
                say(warning)
            done = follow(client, id) if wait else queued
        if recipe is not None:
            tell_of_dataset(client, done)
    finish(done, as_json, wait)


def tell_of_dataset(client: "Client", run: Any) -> None:
    from api.run_recipes import dataset_name

    name = dataset_name(run["name"], run["id"])
    say(f"it is compiled into the dataset {name} once it is done; how that stands: {client.url}/")


def queue(client: "Client", spec: dict[str, Any], tasks: str) -> Any:
    """Queue a file's tasks, or a task set, as one sealed run: whole or not at all."""
    from api.client import ServiceError

    path = Path(tasks)
    if not path.is_file():
        if path.suffix or "/" in tasks:
            fail(f"{tasks}: {'a folder, not a task file' if path.is_dir() else 'no such file'}", 2)
        client.get(f"/v1/task-sets/{quote(tasks, safe='')}")
        return client.post("/v1/runs", {**spec, "task_set": tasks})
    import json

    with path.open("rb") as lines:
        if not any(line.strip() for line in lines):
            fail(f"{tasks}: there is no task in it; nothing was queued", 2)
        lines.seek(0)
        try:
            return client.call(
                "POST",
                "/v1/runs",
                params={"spec": json.dumps(spec)},
                content=iter(lambda: lines.read(1 << 16), b""),
                headers={"Content-Type": "application/x-ndjson"},
            )
        except ServiceError as e:
            raise ServiceError(in_file(tasks, e), e.status, e.body) from None


def recipe_fields(path: Path) -> dict[str, Any]:
    """Raises `RecipeError`."""
    from compiler.recipe import load_recipe

    return load_recipe(path).model_dump(mode="json", exclude_defaults=True)


def in_file(path: str, error: Any) -> str:
    """A fault of one line, with the file's name before it."""
    if "line" not in error.body:
        return str(error)
    field = f"{error.body['field']}: " if error.body.get("field") else ""
    return f"{path}:{error.body['line']}: {field}{error.body.get('words', error)}; nothing was queued"


def sampling_of(text: str | None, temperature: float | None) -> dict[str, Any]:
    import json

    try:
        given = json.loads(text) if text else {}
    except json.JSONDecodeError as e:
        fail(f"--sampling is not JSON: {e}", 2)
    if not isinstance(given, dict):
        fail('--sampling must be a JSON object, such as {"top_p": 0.9}', 2)
    return given if temperature is None else {**given, "temperature": temperature}


def follow(client: "Client", id: str) -> Any:
    """Until the run is done. The counts come from the service's database."""
    from api.cli.progress import bar
    from api.cli.progress_words import pace

    with bar(id, "rollouts") as tell:
        while True:
            run = client.get(f"/v1/runs/{id}")
            accounts = run["accounts"]
            ended = accounts["submitted"] - accounts["queued"] - accounts["running"]
            tell(ended, accounts["submitted"], pace(run["progress"]))
            if run["done"]:
                return run
            time.sleep(POLL_SECONDS)


def finish(run: Any, as_json: bool, waited: bool) -> None:
    accounts = run["accounts"]
    if as_json:
        emit(run)
    else:
        write(in_words(run))
    if not accounts["closes"]:
        fail("the accounts do not close: a rollout was lost or counted twice; this is a fault of trajc")
    if waited and accounts["failed"]:
        words = ", ".join(f"{count} {failure}" for failure, count in accounts["failed"].items())
        fail(f"rollouts failed: {words}; see `trajc inspect {run['id']}`", 3)
    if waited and accounts["cancelled"]:
        fail(f"{accounts['cancelled']} rollouts were cancelled", 3)


def inspect(
    id: Annotated[str, typer.Argument(help="A run (run_...), a rollout (ro_...) or a compilation (comp_...).")],
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show a run with its failures, a rollout with its trajectory, or how a compilation stands."""
    from api.cli.inspect import show
    from api.client import connect

    with plain_errors(), connect(settings(), url) as client:
        show(client, id, as_json)
