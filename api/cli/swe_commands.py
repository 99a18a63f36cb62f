"""`trajc tasks make-swe`, `mine-swe`, `load-swe`, `rate-swe` and `base-image`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from api.cli.run_commands import Url, sampling_of
from api.cli.task_commands import AsJson
from api.cli.terminal import emit, fail, plain_errors, say, settings, write

if TYPE_CHECKING:
    from envs.swe.load_rows import Loaded


def make_swe(
    package: Annotated[str, typer.Argument(help="NAME or NAME==VERSION of a package, or the path of its archive.")],
    out: Annotated[Path | None, typer.Option(help="Task file to write. Default: ./PACKAGE.jsonl.")] = None,
    count: Annotated[int, typer.Option(min=1, help="Tasks wanted.")] = 10,
    bugs: Annotated[int, typer.Option(min=1, help="Bugs planted in each.")] = 1,
    seed: Annotated[int, typer.Option(help="The same seed gives the same tasks.")] = 0,
    parallel: Annotated[int, typer.Option(min=1, help="Sandboxes at once.")] = 2,
    bugs_by: Annotated[
        Literal["mutation", "llm"], typer.Option(help="Who writes the bugs: operators on the syntax tree, or a model.")
    ] = "mutation",
    issues_by: Annotated[
        Literal["failures", "llm"],
        typer.Option(help="Who words the issues: what the tests say, or a model that sees bug and tests."),
    ] = "failures",
    model: Annotated[str | None, typer.Option(help="The model that writes. Default: TRAJC_MODEL.")] = None,
    base_url: Annotated[list[str] | None, typer.Option(help="Its endpoint, ending in /v1; may be given again.")] = None,
    temperature: Annotated[float | None, typer.Option(help="Sampling temperature.")] = None,
    sampling: Annotated[str | None, typer.Option(help="Further sampling parameters, a JSON object.")] = None,
    replies: Annotated[
        Path | None,
        typer.Option(
            help="Keeps what the model said, and is read first. Default: OUT with .replies.jsonl.", dir_okay=False
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make SWE tasks of a package with tests of its own: plant bugs, keep those that make passing tests fail."""
    import asyncio

    from api.cli.make_swe import Written, make, write_tasks

    known = settings()
    target = out or Path(f"{package_name(package)}.jsonl")
    written: Written | None = None
    if "llm" in (bugs_by, issues_by):
        if (named := model or known.model) is None:
            fail("which model writes? name one with --model, or set TRAJC_MODEL", 2)
        written = Written(
            bugs=bugs_by == "llm",
            issues=issues_by == "llm",
            model=named,
            base_urls=base_url or [],
            replies=replies or target.with_suffix(".replies.jsonl"),
            sampling=sampling_of(sampling, temperature),
        )
    with plain_errors():
        made = asyncio.run(make(package, known, count, bugs, seed, parallel, say, written))
        write_tasks(made.tasks, target)
    dropped = ", ".join(f"{n} {reason}" for reason, n in made.dropped.items()) or "none"
    say(f"{made.tried} bugs tried = {len(made.tasks)} kept + dropped: {dropped}")
    if as_json:
        emit({"file": str(target), "tasks": len(made.tasks), "tried": made.tried, "dropped": made.dropped})
    else:
        write(f"{target}: {len(made.tasks)} tasks of {made.package} {made.version}")
    if len(made.tasks) < count:
        fail(f"{made.package} gave {len(made.tasks)} of the {count} tasks wanted", 3)


def package_name(package: str) -> str:
    """`NAME==VERSION` and `path/NAME-VERSION.tar.gz` alike give a name for files."""
    name = Path(package).name.partition("==")[0]
    return name.rpartition("-")[0] or name if name.endswith((".gz", ".zip", ".tgz", ".bz2")) else name


def load_swe(
    rows: Annotated[list[Path], typer.Argument(help="JSON lines, JSON, Parquet, Arrow, or a data set's folder.")],
    out: Annotated[Path | None, typer.Option(help="Task file to write. Default: ./FIRST.tasks.jsonl.")] = None,
    clones: Annotated[
        Path | None,
        typer.Option(
            help="Folder of local clones (OWNER__NAME or NAME); else files come from images.", file_okay=False
        ),
    ] = None,
    image: Annotated[
        str | None, typer.Option(help="Image of rows that name none; may hold {instance}, {id} and {repo}.")
    ] = None,
    workdir: Annotated[str, typer.Option(help="Where an image keeps the repository.")] = "/testbed",
    split: Annotated[str, typer.Option(help="The tasks' split.")] = "train",
    verify: Annotated[
        bool, typer.Option(help="Run the tests before and after the gold patch, twice each; leave out what fails.")
    ] = False,
    check: Annotated[bool, typer.Option(help="Only say what is missing; write no task.")] = False,
    parallel: Annotated[int, typer.Option(min=1, help="Rows at once.")] = 2,
    as_json: AsJson = False,
) -> None:
    """Load rows of SWE-bench or SWE-smith as tasks. Names what each row lacks and the image it wants; exits 3 if any
    row was left out."""
    import asyncio
    from dataclasses import asdict

    from api.cli.load_swe import load
    from envs.swe.load_rows import Loading

    target = out or Path(f"{rows[0].name.partition('.')[0]}.tasks.jsonl")
    loading = Loading(clones=clones, image=image, workdir=workdir, split=split, verified=verify, parallel=parallel)
    with plain_errors():
        done = asyncio.run(load(rows, loading, settings(), None if check else target, tell_row))
    for name, wanted in done.images.items():
        there = "the engine has it" if wanted["present"] else f"the engine lacks it: docker pull {name}"
        say(f"{wanted['rows']} rows want {name or 'the base image'}: {there}")
    say(f"{done.rows} rows = {done.tasks} tasks + {len(done.left_out)} left out")
    written = bool(done.tasks) and not check
    if as_json:
        emit(
            {
                "file": str(target) if written else None,
                "rows": done.rows,
                "tasks": done.tasks,
                "left_out": [asdict(one) for one in done.left_out],
                "images": done.images,
            }
        )
    elif written:
        write(f"{target}: {done.tasks} tasks")
    if not done.rows:
        fail(f"{', '.join(map(str, rows))}: there is no row in it", 2)
    if done.left_out:
        fail(f"{len(done.left_out)} of {done.rows} rows were left out", 3)


def tell_row(one: "Loaded") -> None:
    where = f"{one.row.file}:{one.row.number}"
    named = where if one.row.name == where else f"{where}: {one.row.name}"
    for words in one.faults:
        say(f"{named}: {words}")


def mine_swe(
    clone: Annotated[Path, typer.Argument(help="A local clone.", exists=True, file_okay=False)],
    repo: Annotated[str, typer.Option(help="OWNER/NAME, as the rows carry it.")],
    out: Annotated[Path | None, typer.Option(help="Rows to write. Default: ./NAME.rows.jsonl.")] = None,
    revision: Annotated[str, typer.Option(help="Where to start going back from.")] = "HEAD",
    most: Annotated[int | None, typer.Option(min=1, help="Rows wanted. Default: all that there are.")] = None,
    image: Annotated[str | None, typer.Option(help="Image that the tests run in. Default: the base image.")] = None,
    workdir: Annotated[str, typer.Option(help="Where it keeps the repository.")] = "/testbed",
    test_command: Annotated[str | None, typer.Option(help="Test files are appended. Default: pytest.")] = None,
    parallel: Annotated[int, typer.Option(min=1, help="Commits at once; each runs in two sandboxes.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Make rows of SWE-bench's shape from a history: commits that change the source and bring a test that failed
    before and passes after, twice. `load-swe` makes tasks of them."""
    import asyncio

    from api.cli.mine_swe import Mine, mine, write_rows
    from envs.swe.make.suite import PYTEST

    if not all(repo.partition("/")):
        fail(f"--repo {repo}: it takes OWNER/NAME, as in pallets/click", 2)
    target = out or Path(f"{repo.rpartition('/')[2]}.rows.jsonl")
    where = Mine(clone, repo, revision, image, workdir, test_command or PYTEST, most, parallel)
    with plain_errors():
        done = asyncio.run(mine(where, settings(), say))
        write_rows(done.rows, target)
    dropped = ", ".join(f"{n} {reason}" for reason, n in done.dropped.items()) or "none"
    say(f"{done.commits} commits = {len(done.rows)} rows + dropped: {dropped}")
    if as_json:
        emit({"file": str(target), "commits": done.commits, "rows": len(done.rows), "dropped": done.dropped})
    else:
        write(f"{target}: {len(done.rows)} rows of {repo}")
    if not done.rows:
        fail(f"{clone}: no commit makes a row", 3)


def rate_swe(
    tasks: Annotated[Path, typer.Argument(help="A task file.", exists=True, dir_okay=False)],
    run: Annotated[list[str], typer.Option("--run", help="A run whose scored rollouts count; may be given again.")],
    out: Annotated[Path | None, typer.Option(help="Task file to write. Default: the same file.")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Fill in how often each task was solved, by model, beside the estimate of its difficulty."""
    from api.cli.load_swe import rate
    from api.client import connect

    with plain_errors(), connect(settings(), url) as client:
        done = rate(tasks, run, client, out or tasks)
    if as_json:
        emit({"file": str(out or tasks), "tasks": done.tasks, "measured": done.measured})
    else:
        write(f"{out or tasks}: {done.measured} of {done.tasks} tasks have a measured pass rate of these runs")


def base_image(
    rootfs: Annotated[Path | None, typer.Option(help="An unpacked Debian to make it from.", file_okay=False)] = None,
) -> None:
    """Make the image that SWE sandboxes start from, where the Docker engine has none."""
    import asyncio

    from api.cli.make_swe import make_base_image

    with plain_errors():
        write(asyncio.run(make_base_image(settings(), rootfs, say)))
