"""`trajc tasks ...`: validate tasks, and make what they stand on. Works on the home folder; needs no service."""

from pathlib import Path
from typing import Annotated

import typer

from api.cli.terminal import emit, fail, plain_errors, say, settings, write

app = typer.Typer(help="Make and validate tasks; index a corpus; load a database.", no_args_is_help=True)
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]


@app.command("index")
def index(
    name: Annotated[str, typer.Argument(help="The corpus.")],
    source: Annotated[Path, typer.Argument(help="JSON lines, Parquet, or a folder of text, Markdown or HTML.")],
    column: Annotated[
        list[str] | None, typer.Option(metavar="FIELD=COLUMN", help="Where the source names a field differently.")
    ] = None,
    licence: Annotated[str | None, typer.Option(help="Of documents that name none.")] = None,
    as_json: AsJson = False,
) -> None:
    """Index a corpus for search tasks: resumable, incremental, versioned by content."""
    from api.cli.progress import bar
    from api.cli.site import local_site
    from envs.search.indexing import index_corpus

    for pair in column or ():
        if "=" not in pair:
            fail(f"--column {pair}: it takes FIELD=COLUMN, such as text=contents", 2)
    columns = dict(pair.split("=", 1) for pair in column or ())
    with plain_errors(), bar(f"index {name}", "documents") as tell:
        done = index_corpus(
            source, name, local_site(settings(), "search"), columns=columns or None, licence=licence, progress=tell
        )
    if as_json:
        counts = {"added": done.added, "changed": done.changed, "unchanged": done.unchanged, "removed": done.removed}
        counts["left_out"] = len(done.left_out)
        emit({"corpus": name, "version": done.manifest.version, "documents": done.manifest.documents, **counts})
    else:
        if done.left_out:
            first = ", ".join(str(path.relative_to(source)) for path in done.left_out[:3])
            more = f" and {len(done.left_out) - 3} more" if len(done.left_out) > 3 else ""
            say(f"left out, as none of the kind that is read here: {first}{more}")
        say(f"{done.added} added, {done.changed} changed, {done.unchanged} unchanged, {done.removed} removed")
        write(f"{name} {done.manifest.version}: {done.manifest.documents} documents")


@app.command("embed")
def embed(
    name: Annotated[str, typer.Argument(help="An indexed corpus.")],
    url: Annotated[
        str | None, typer.Option(help="Base URL of an OpenAI-compatible endpoint, up to /v1. Default: as set.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Embedding model. Default: as set.")] = None,
    version: Annotated[str | None, typer.Option(help="Of the corpus. Default: the newest.")] = None,
    as_json: AsJson = False,
) -> None:
    """Embed a corpus's documents, for the rankings `meaning` and `both`: resumable, only what is new.

    The endpoint is `embeddings` in TRAJC_ENVIRONMENTS' `search`, where no flag names another.
    """
    import asyncio

    from api.cli.progress import bar
    from api.cli.site import local_site
    from envs.search.settings import embeddings_endpoint
    from envs.search.vectors import embed_corpus

    with plain_errors(), bar(f"embed {name}", "documents") as tell:
        site = local_site(settings(), "search")
        endpoint = embeddings_endpoint(site.settings, url, model)
        done = asyncio.run(embed_corpus(name, site, endpoint, version=version, progress=tell))
    if as_json:
        emit({"corpus": name, "model": endpoint.model, **vars(done)})
    else:
        say(f"{done.embedded} embedded, {done.before} had been before")
        write(f"{name} {done.version}: {done.embedded + done.before} documents by {endpoint.model}")


@app.command("load-db")
def load_db(
    name: Annotated[str, typer.Argument(help="The database.")],
    source: Annotated[Path, typer.Argument(help="A DuckDB or SQLite file, or a folder of Parquet, CSV or JSON.")],
    as_json: AsJson = False,
) -> None:
    """Load a database for SQL tasks, versioned by its contents."""
    from api.cli.site import local_site
    from envs.sql.load import load_database

    with plain_errors():
        manifest = load_database(source, name, local_site(settings(), "sql")).manifest
    if as_json:
        left_out = [{"name": left.name, "why": left.why} for left in manifest.left_out]
        names = [table.name for table in manifest.tables]
        told = {"tables": names, "left_out": left_out, "too_large": manifest.too_large}
        emit({"database": name, "version": manifest.version, **told})
        return
    for left in manifest.left_out:
        say(f"left out {left.name}: {left.why}")
    for table, size in manifest.too_large.items():
        say(
            f"{table} is too large to keep as evidence: its text has {size:,} bytes (`table_bytes` of the SQL settings)"
        )
    write(f"{name} {manifest.version}: {len(manifest.tables)} tables")


@app.command("validate")
def validate(
    files: Annotated[list[Path], typer.Argument(help="Task files.", exists=True, dir_okay=False)],
    as_json: AsJson = False,
) -> None:
    """Check task files against this home folder. Names file, line and field of every fault; exits 1 on any."""
    from api.cli.validate import check_file

    with plain_errors():
        known = settings()
        checked = [check_file(path, known) for path in files]
    faults = [fault for one in checked for fault in one.faults]
    if as_json:
        emit({"tasks": sum(one.tasks for one in checked), "faults": [vars(fault) for fault in faults]})
    else:
        for fault in faults:
            write(f"{fault.file}:{fault.line}: {fault.field + ': ' if fault.field else ''}{fault.words}")
        say(f"{sum(one.tasks for one in checked)} tasks are valid, {len(faults)} lines are not")
    if faults:
        fail(f"{len(faults)} faults")
