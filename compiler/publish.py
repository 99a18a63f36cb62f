"""Shards become one immutable dataset version: a folder that appears whole, named by its content.

`manifest.json` holds the sha256 of every other file and nothing of time or place; the version is the first 40
hex digits of the manifest's own sha256.
"""

import hashlib
import os
import shutil
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Any

import orjson

from compiler.assemble import prompt_of
from compiler.card import ANSWER_ONLY, card
from compiler.drops import Accounts, account, calls_failed
from compiler.errors import PublishError
from compiler.formats.agent import BaselineWriter
from compiler.formats.all import writers
from compiler.formats.portion import Portion
from compiler.formats.writer import Written
from compiler.plots import draw
from compiler.prompts import BY_ID
from compiler.recipe import Recipe
from compiler.render import Renderer
from compiler.renderings import Renderings
from compiler.selection import Selection
from compiler.shard import THREADS
from compiler.statistics import Statistics
from compiler.tokens import load_tokenizer
from envs.blobs import BlobStore
from envs.frozen import Frozen


class Published(Frozen):
    name: str
    version: str
    path: Path
    accounts: Accounts
    examples: dict[str, int]
    """Published examples by config."""
    manifest: dict[str, Any]


def publish(
    recipe: Recipe, shards: Sequence[Path], blobs: BlobStore, home: Path, work: Path, known: Renderings
) -> Published:
    """`home`: the dataset's folder, of the dataset's name; `work`: a folder below it, where the version grows.

    Raises `PublishError` where the accounts do not close. Publishing the same again gives the same folder, and mends
    one that lost files.
    """
    name = home.name
    temporary = work / f"version-{uuid.uuid4().hex}"
    temporary.mkdir(parents=True)
    try:
        renderer = Renderer(blobs, load_tokenizer(recipe.tokenizer), known)
        selection = Selection(shards, temporary / "selection.sqlite")
        try:
            selection.decide(recipe)
            manifest, accounts = _write(recipe, selection, renderer, temporary, name)
        finally:
            selection.close()
            (temporary / "selection.sqlite").unlink()
        data = orjson.dumps(manifest, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2) + b"\n"
        (temporary / "manifest.json").write_bytes(data)
        version = hashlib.sha256(data).hexdigest()[:40]
        _sync(temporary)
        place(temporary, home / version)
        return Published(
            name=name,
            version=version,
            path=home / version,
            accounts=accounts,
            examples=manifest["statistics"]["examples"],
            manifest=manifest,
        )
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def place(version: Path, to: Path) -> None:
    """Where it stands whole already it stays, since its name is its content, and becomes the newest again. One that
    lost files goes: into the work folder beside the new one."""
    if to.exists() and not _stands(to):
        os.rename(to, version.with_name(f"damaged-{uuid.uuid4().hex}"))
    try:
        os.rename(version, to)
    except OSError:
        if not _stands(to):
            raise
        os.utime(to / "manifest.json")


def _stands(version: Path) -> bool:
    """By the sizes of its files."""
    try:
        files = orjson.loads((version / "manifest.json").read_bytes())["files"]
        return all((version / name).stat().st_size == entry["size"] for name, entry in files.items())
    except (OSError, ValueError, LookupError):
        return False


def _write(
    recipe: Recipe, selection: Selection, renderer: Renderer, folder: Path, name: str
) -> tuple[dict[str, Any], Accounts]:
    (folder / "canonical").mkdir()
    statistics, written = _examples(recipe, selection, renderer, folder)
    drops: Counter[tuple[str, str]] = Counter()
    with open(folder / "drops.jsonl", "wb") as out:
        for drop in selection.drops():
            drops[(drop.stage, drop.reason)] += 1
            out.write(orjson.dumps(drop.model_dump()) + b"\n")
    with open(folder / "trajectories.txt", "w") as ids:
        ids.writelines(f"{id}\n" for id in selection.trajectories())
    accounts = account(
        selection.count("trajectories"), selection.count("entries"), sum(statistics.examples.values()), drops
    )
    if not accounts.closed:
        raise PublishError(f"the accounts do not close: {accounts}")
    report = statistics.report()
    warnings = [ANSWER_ONLY] if recipe.target == "answer_only" else []
    warnings += [failed] if (failed := calls_failed(accounts, recipe.most_failed)) else []
    warnings += [f"{config}: {words}" for config, side in selection.sides.items() if (words := side.warning)]
    draw(folder / "plots", report, accounts)
    (folder / "README.md").write_text(card(name, recipe.target, selection.sides, accounts, report, warnings))
    manifest = {
        "format": 1,
        "name": name,
        "recipe": recipe.told(),
        "target": recipe.target,
        "warnings": warnings,
        "splits": {config: side.model_dump() for config, side in selection.sides.items()},
        "code": code_version(),
        "tokenizer": {"name": renderer.tokenizer.name, "identity": renderer.tokenizer.identity},
        "decontamination": _digests(recipe),
        "templates": {t.id: hashlib.sha256(t.text.encode()).hexdigest() for t in BY_ID.values()},
        "accounts": accounts.model_dump(),
        "statistics": report,
        "files": _files(folder, written),
    }
    return manifest, accounts


def _examples(
    recipe: Recipe, selection: Selection, renderer: Renderer, folder: Path
) -> tuple[Statistics, dict[Path, Written]]:
    """Also what is known of the files that it wrote."""
    statistics = Statistics()
    written: dict[Path, Written] = {}

    def end(close: Callable[[], tuple[Written, ...]]) -> None:
        written.update((file.path, file) for file in close())

    portion: Portion | None = None
    with ExitStack() as stack:
        for example, turns in selection.examples():
            if (this := Portion(example.config, example.split if recipe.split else "")) != portion:
                stack.close()
                portion = this
                open_ones = writers(recipe, renderer.tokenizer, folder, portion)
                for writer in open_ones:
                    stack.callback(end, writer.close)
                baselines = BaselineWriter(folder, portion) if turns else None
                if baselines:
                    stack.callback(end, baselines.close)
            prompt = prompt_of(example, renderer)
            for writer in open_ones:
                writer.write(example, prompt)
            if baselines:
                baselines.copy(turns)
            statistics.add(example)
    return statistics, written


def _digests(recipe: Recipe) -> dict[str, str]:
    """What the evaluation files held."""
    names = recipe.decontamination.files if recipe.decontamination else ()
    return {name: hashlib.sha256(Path(name).read_bytes()).hexdigest() for name in names}


def code_version() -> dict[str, str]:
    """The release, and a digest of the compiler's own source, which tells changes between releases."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return {"trajc": package_version("trajc"), "compiler": digest.hexdigest()}


def _files(folder: Path, written: dict[Path, Written]) -> dict[str, dict[str, Any]]:
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "selection.sqlite")
    with ThreadPoolExecutor(THREADS) as threads:
        files = list(threads.map(lambda path: written.get(path) or _reread(path), paths))
    return {file.path.relative_to(folder).as_posix(): {"sha256": file.sha256, "size": file.size} for file in files}


def _reread(path: Path) -> Written:
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        os.fsync(file.fileno())
    return Written(path, digest, path.stat().st_size)


def _sync(folder: Path) -> None:
    """Bytes before names: a version that is seen after a power cut is whole. The files of the manifest are on disk."""
    for path in [folder / "manifest.json", *(p for p in folder.rglob("*") if p.is_dir()), folder]:
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
