"""The big show: examples of 64k to 128k tokens from long documents and packages that nobody here wrote.

Questions over the cross references of Debian's documentation packages, and bugs planted in larger packages, both
fetched at test time; real rollouts, the oracle drives; every published example is verified, and its answer judged by
its environment. TRAJC_SOAK_N=full is the whole of it; by default it is small.
"""

import asyncio
import hashlib
import json
import os
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from envs.environment import Site
from envs.score import Submission
from envs.search.environment import SearchEnvironment
from envs.swe.environment import SweEnvironment
from envs.swe.make.suite import belongs_to_tests
from envs.task import Reference, Task
from rollout.blobs import FolderBlobs
from tests.acceptance.long_documents import MANUALS, fetch, questions

FULL = os.environ.get("TRAJC_SOAK_N") == "full"
PACKAGES = {"boltons==26.2.0": 40, "pyasn1==0.6.5": 10, "WebOb==1.8.11": 10} if FULL else {"pyasn1==0.6.5": 2}
BUGS = 2
"""In each task: the files of its patch are two where they lie apart."""
LOOKED_AT = 520_000
"""Bytes of source that the agent looks at, or all that there are."""
SMALL = {"search": 5, "manuals": MANUALS[1:2]}
WANTED = {"search_agent": 100, "swe_agent": 50} if FULL else {"search_agent": 3, "swe_agent": 2}
LEAST, MOST = 64 * 1024, 128 * 1024
FORMATS = ["acc", "messages", "ms_swift", "llama_factory", "verl", "tokenised", "agent_sft"]


@pytest.mark.soak
@pytest.mark.needs("apt", "bubblewrap", "network")
@pytest.mark.timeout(5400)
def test_long_documents_and_packages_become_verified_examples_of_64k_to_128k_tokens(
    new_trajc: Callable[[], Any], tmp_path: Path
) -> None:
    trajc = new_trajc()
    swe = {"sandbox": "bubblewrap", "rootfs": os.environ["TRAJC_ROOTFS"]}
    trajc.environ["TRAJC_ENVIRONMENTS"] = json.dumps({"swe": swe})
    files = {"search": written(tmp_path / "search.jsonl", asked(trajc, tmp_path))}
    files["swe"] = written(tmp_path / "swe.jsonl", planted(trajc, tmp_path))
    played = written(
        tmp_path / "played.jsonl", map(looking_around(FolderBlobs(trajc.home / "blobs")), read(files["swe"]))
    )
    with trajc.serving(concurrency="4"), trajc.oracle(*files.values(), "--recording", played) as endpoint:
        runs = {
            env: trajc.json("run", path, "--env", env, "--model", "oracle", "--base-url", endpoint)
            for env, path in files.items()
        }
        recipe = {
            "runs": [run["id"] for run in runs.values()],
            "include_oracle": True,
            "min_tokens": LEAST,
            "token_budget": MOST,
            "formats": FORMATS,
            "placement": {"span": [0.0, 1.0]},
        }
        (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
        compiled = trajc.json("compile", tmp_path / "recipe.yaml", "--name", "long")
    accounts = compiled["accounts"]
    assert accounts["selected"] == sum(run["accounts"]["submitted"] for run in runs.values())
    assert accounts["selected"] == accounts["yielded"] + sum(accounts["trajectories_dropped"].values())
    assert accounts["built"] == accounts["published"] + sum(accounts["examples_dropped"].values())

    verified = trajc.json("verify", "long")
    assert verified["faults"] == []
    assert verified["examples"] == accounts["published"]
    folder = trajc.home / "datasets" / "long" / compiled["version"]
    examples = list(canonical(folder))
    counts = Counter(example["config"] for example in examples)
    assert {config: counts[config] >= least for config, least in WANTED.items()} == dict.fromkeys(WANTED, True), counts
    assert all(LEAST <= example["tokens"] <= MOST for example in examples)
    tell(accounts, examples)

    tasks = {row["id"]: row for path in files.values() for row in read(path)}
    verdicts = asyncio.run(judged(examples, tasks, trajc.home, swe))
    assert set(verdicts) == {"right"}, verdicts
    check_places(folder, examples)


def asked(trajc: Any, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Corpora by the real indexing, and the questions over them."""
    for manual in MANUALS if FULL else SMALL["manuals"]:
        folder = fetch(manual, tmp_path)
        trajc("tasks", "index", manual.name, folder)
        every = list(questions(manual, folder))
        yield from every if FULL else every[: SMALL["search"]]


def planted(trajc: Any, tmp_path: Path) -> Iterator[dict[str, Any]]:
    for package, count in PACKAGES.items():
        out = tmp_path / f"{package}.jsonl"
        # A package may have fewer bugs to give than are wanted: exit status 3.
        trajc("tasks", "make-swe", package, "--count", str(count), "--bugs", str(BUGS), "--out", out, code=None)
        yield from read(out)


def looking_around(blobs: FolderBlobs) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The recording of an agent that looks at source after source, in an order of its own, before it mends the bug."""

    def recording(task: dict[str, Any]) -> dict[str, Any]:
        tree = json.loads(blobs.get(task["world"]["tree"]))["files"]
        sources = [path for path in tree if path.endswith(".py") and not belongs_to_tests(path)]
        sources.sort(key=lambda path: hashlib.sha256(f"{task['id']} {path}".encode()).digest())
        patch = task["reference"]["gold_patch"]
        commands, seen = ["ls"], 0
        for path in sources:
            if seen < LOOKED_AT and len(commands) < 45:
                commands.append(f"cat {shlex.quote(path)}")
                seen += tree[path]["size"]
        commands.append(f"git apply <<'END_OF_PATCH'\n{patch}END_OF_PATCH")
        actions: list[dict[str, Any]] = [{"name": "bash", "arguments": {"command": command}} for command in commands]
        return {"task": task["id"], "actions": [*actions, {"name": "submit", "arguments": {}}]}

    return recording


def written(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def canonical(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted((folder / "canonical").glob("*.parquet")):
        for batch in pq.ParquetFile(path).iter_batches(batch_size=16):
            yield from batch.to_pylist()


async def judged(
    examples: list[dict[str, Any]], tasks: dict[str, dict[str, Any]], home: Path, swe: dict[str, str]
) -> Counter[str]:
    """The verdicts on what the examples teach to answer, by each task's own environment."""
    blobs = FolderBlobs(home / "blobs")
    environments = {
        "search": SearchEnvironment(Site(root=home, blobs=blobs, settings={})),
        "swe": SweEnvironment(Site(root=home, blobs=blobs, settings=swe)),
    }
    two = asyncio.Semaphore(2)

    async def verdict(example: dict[str, Any]) -> str:
        row = tasks[example["task"]]
        task = Task.model_validate({field: value for field, value in row.items() if field != "reference"})
        kind = "patch" if task.environment == "swe" else "text"
        async with two:
            score = await environments[task.environment].score(
                task, Reference(data=row["reference"]), Submission(kind=kind, text=example["answer"])
            )
        return score.verdict

    try:
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(verdict(example)) for example in examples]
        return Counter(task.result() for task in running)
    finally:
        for environment in environments.values():
            await environment.close()


def check_places(folder: Path, examples: list[dict[str, Any]]) -> None:
    """The card's figures, counted again from the canonical rows alone."""
    tenths, distances, lengths = [0] * 10, Counter[int](), Counter[int]()
    for example in examples:
        lengths[example["tokens"] // 1024] += 1
        sizes = [piece["tokens"] for piece in example["pieces"]]
        middles = [sum(sizes[:n]) + sizes[n] / 2 for n, p in enumerate(example["pieces"]) if p["role"] == "needed"]
        for middle in middles:
            tenths[min(int(middle * 10 / sum(sizes)), 9)] += 1
        distances.update(int(b - a) // 1024 for a, b in pairwise(middles))
    manifest = json.loads((folder / "manifest.json").read_text())["statistics"]
    assert manifest["needed_position_tenths"] == tenths
    assert manifest["needed_distances"] == {str(k * 1024): n for k, n in sorted(distances.items())}
    assert manifest["lengths"] == {str(k * 1024): n for k, n in sorted(lengths.items())}
    if FULL:
        # Even places: 400 pieces and more, none of ten parts of the context far from a tenth of them.
        assert sum(tenths) > 300
        assert all(0.06 < n / sum(tenths) < 0.14 for n in tenths), tenths


def tell(accounts: dict[str, Any], examples: list[dict[str, Any]]) -> None:
    """For who runs the whole: accounts by reason and the histogram of lengths, on stdout."""
    print(json.dumps(accounts))
    for config in sorted({example["config"] for example in examples}):
        lengths = Counter(example["tokens"] // 8192 for example in examples if example["config"] == config)
        print(f"{config}: {lengths.total()} examples")
        for bin in range(LEAST // 8192, MOST // 8192 + 1):
            print(f"  {8 * bin:>4}k {'#' * lengths[bin]} {lengths[bin]}")
