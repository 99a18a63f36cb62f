"""`trajc compile`."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli.run_commands import recipe_fields
from api.cli.terminal import emit, fail, goes_on, plain_errors, say, settings, write

if TYPE_CHECKING:
    from api.client import Client

POLL_SECONDS = 0.3


def compile_dataset(
    source: Annotated[
        list[str], typer.Argument(metavar="RUN...|RECIPE", help="Ids of runs, or one recipe file (YAML or JSON).")
    ],
    name: Annotated[str | None, typer.Option(help="The dataset. Default: the run's or the recipe file's name.")] = None,
    include_oracle: Annotated[bool, typer.Option(help="Take trajectories of the oracle policy too.")] = False,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Only tell what the recipe's models would be asked; compile nothing.")
    ] = False,
    wait: Annotated[bool, typer.Option(help="Wait for the version.")] = True,
    url: Annotated[str | None, typer.Option(help="The service. Default: TRAJC_URL.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")] = False,
) -> None:
    """Compile trajectories into a dataset version. Exits 1 where that fails, 3 where no example was published."""
    from api.client import connect

    with plain_errors(), connect(settings(), url) as client:
        recipe, default = recipe_of(client, source)
        if include_oracle:
            recipe["include_oracle"] = True
        wanted = {"dataset": name or default, "recipe": recipe}
        if estimate:
            tell_estimate(client.post("/v1/compilations/estimate", wanted), as_json)
            return
        compilation = client.post("/v1/compilations", wanted)
        with goes_on(id := compilation["id"]):
            say(f"compilation {id} of dataset {compilation['dataset']}")
            for warning in compilation["warnings"]:
                say(f"warning: {warning}")
            if wait:
                compilation = follow(client, id)
        if compilation["state"] == "succeeded":
            of = f"/v1/datasets/{compilation['dataset']}/versions/{compilation['version']}"
            for warning in client.get(f"{of}/files/manifest.json")["warnings"]:
                say(f"warning: {warning}")
    if as_json:
        emit(compilation)
    elif wait and compilation["state"] == "succeeded":
        write(in_words(compilation))
    if compilation["state"] == "succeeded":
        check_something(compilation)
    if compilation["state"] in ("failed", "cancelled"):
        fail(f"compilation {compilation['id']} {compilation['state']}: {compilation['error']}")


def tell_estimate(found: Any, as_json: bool) -> None:
    """Of an `api.estimate.Estimate`."""
    if as_json:
        emit(found)
        return
    write(f"{found['examples']} examples from {found['trajectories']} trajectories")
    for name, asked in found["asked"].items():
        bound = asked["completion_tokens"]
        generated = "no bound on what is generated" if bound is None else f"at most {bound:,} tokens generated"
        write(
            f"{name}: {asked['calls']:,} calls of {asked['model']}, {asked['kept']:,} of them paid for already; "
            f"{asked['prompt_tokens']:,} tokens of prompts, {generated}"
        )


def recipe_of(client: "Client", source: list[str]) -> tuple[dict[str, Any], str]:
    """The recipe's fields and a name for the dataset."""
    if files := [one for one in source if not one.startswith("run_") and (Path(one).suffix or "/" in one)]:
        if len(source) > 1:
            fail(f"{files[0]}: a recipe is compiled by itself, and names its runs", 2)
        if not Path(files[0]).is_file():
            fail(f"{files[0]}: no such file", 2)
    from api.run_recipes import dataset_name

    path = Path(source[0])
    if path.is_file() and len(source) == 1:
        return recipe_fields(path), dataset_name(path.stem, "dataset")
    runs = [client.get(f"/v1/runs/{id}") for id in source]
    return {"runs": [run["id"] for run in runs]}, dataset_name(runs[0]["name"], runs[0]["id"])


def follow(client: "Client", id: str) -> Any:
    """Until it has ended. Where models are asked, their calls are the long part."""
    from api.cli.progress import bar

    with bar(id, "model calls") as tell:
        while (compilation := client.get(f"/v1/compilations/{id}"))["state"] in ("queued", "running"):
            accounts = compilation["accounts"] or {}
            if accounts.get("calls") or compilation["reason"]:
                tell(accounts.get("answered", 0), accounts.get("calls"), compilation["reason"])
            time.sleep(POLL_SECONDS)
    return compilation


def check_something(compilation: Any) -> None:
    """What follows a command that ended well may rely on examples."""
    accounts = compilation["accounts"]
    if accounts["published"] == 0:
        oracle = accounts["trajectories_dropped"].get("oracle", 0)
        way_out = f": {oracle} come from the oracle policy, which --include-oracle takes" if oracle else ""
        fail(f"no example was published{way_out}", 3)


def in_words(compilation: Any) -> str:
    a = compilation["accounts"]
    dropped = {**a["trajectories_dropped"], **a["examples_dropped"]}
    reasons = ", ".join(f"{count} {reason}" for reason, count in dropped.items()) or "none"
    return (
        f"{compilation['dataset']} {compilation['version']}: {a['published']} examples from {a['selected']} "
        f"trajectories; dropped: {reasons}"
    )
