"""`trajc pull` and `trajc verify`."""

from pathlib import Path
from typing import Annotated

import typer

from api.cli.terminal import emit, fail, plain_errors, say, settings, write

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]


def pull(
    dataset: Annotated[str, typer.Argument(help="Name of a dataset.")],
    version: Annotated[str, typer.Option(help="40 hex digits, or `latest`.")] = "latest",
    out: Annotated[Path | None, typer.Option(help="Folder to make. Default: ./NAME/VERSION.")] = None,
    url: Annotated[str | None, typer.Option(help="The service. Default: TRAJC_URL.")] = None,
    as_json: AsJson = False,
) -> None:
    """Download a dataset version: resumed where it stopped, each file checked, there only when whole."""
    from api.cli.progress import bar
    from api.client import connect
    from api.pull import pull as pull_dataset

    with plain_errors(), connect(settings(), url) as client, bar(f"pull {dataset}", "bytes") as tell:
        done = pull_dataset(client, dataset, version, out, tell)
    if as_json:
        emit(
            {
                "name": done.name,
                "version": done.version,
                "folder": str(done.folder),
                "files": done.files,
                "size": done.size,
                "fetched": done.fetched,
            }
        )
    else:
        say(f"{done.name} {done.version}: {done.files} files, {done.size} bytes, {done.fetched} fetched")
        print(done.folder)


def verify(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="NAME, NAME@VERSION, or a version's folder.")],
    tokenizer: Annotated[
        Path | None, typer.Option(help="A Hugging Face tokenizer.json to recount tokens with.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Render every piece of a dataset version again from its blobs and compare. Exits 1 on any fault."""
    from compiler.tokens import load_tokenizer
    from compiler.verify import verify as verify_version
    from rollout.blobs import FolderBlobs

    known = settings()
    with plain_errors():
        if tokenizer is not None:
            load_tokenizer(str(tokenizer))  # says what is wrong with the file before anything is read
        folder = version_folder(dataset, known.datasets)
        try:
            report = verify_version(folder, FolderBlobs(known.blobs), tokenizer)
        except (ValueError, KeyError) as e:  # of a file that is damaged beyond reading
            fail(f"{folder} cannot be read as a dataset version: {type(e).__name__}: {e}")
    if as_json:
        emit({**report.model_dump(mode="json"), "ok": report.ok})
    else:
        for fault in report.faults:
            say(f"{fault.where}: {fault.what}")
        write(f"{report.version}: {report.examples} examples, {report.pieces} pieces, {report.tokens} tokens")
    if not report.ok:
        fail(f"{len(report.faults)} faults")


def version_folder(dataset: str, datasets: Path) -> Path:
    """A folder that is given, or the newest or named version of a dataset of this home."""
    if (Path(dataset) / "manifest.json").exists():
        return Path(dataset).absolute()
    name, _, version = dataset.partition("@")
    versions = sorted((datasets / name).glob("[0-9a-f]*/manifest.json"), key=lambda p: p.stat().st_mtime)
    if not versions:
        names = sorted({p.parent.parent.name for p in datasets.glob("*/[0-9a-f]*/manifest.json")})
        folder = f", and no manifest.json in the folder {dataset}" if Path(dataset).is_dir() else ""
        fail(f"no dataset {name!r} in {datasets}{folder}; known: {', '.join(names) or 'none yet'}")
    chosen = [p.parent for p in versions if p.parent.name.startswith(version)]
    if not chosen:
        fail(f"dataset {name!r} has no version {version!r}; known: {', '.join(p.parent.name for p in versions)}")
    return chosen[-1]
