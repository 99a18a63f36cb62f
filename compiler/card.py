"""The dataset card: README.md with the YAML front matter that `datasets.load_dataset` reads configs from."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from compiler.drops import Accounts
from compiler.plots import pass_rates

ANSWER_ONLY = (
    "target: answer_only. The assistant's message is the bare answer, without reasoning. Outside tests of the "
    "method found that training on bare answers gains almost nothing over the base model: for training, compile "
    "again with a teacher."
)

TAUGHT = (
    "The assistant's message is the reasoning and the answer of a teacher model over the compiled prompt; only "
    "replies that the environment's own scorer calls right were kept."
)


def card(
    name: str,
    target: str,
    configs: Mapping[str, Sequence[str]],
    accounts: Accounts,
    statistics: Mapping[str, Any],
) -> str:
    """`configs`: config name -> file patterns."""
    lines = [
        front_matter(name, configs),
        f"# {name}",
        "",
        "Agent trajectories compiled into long-context examples: the evidence that an agent gathered over many turns,",
        "shuffled into one prompt, and the verified answer to its question.",
        "",
        f"> {ANSWER_ONLY}" if target == "answer_only" else TAUGHT,
        "",
        "| config | examples | tokens |",
        "|---|---:|---:|",
        *(f"| {c} | {n:,} | {statistics['tokens'][c]:,} |" for c, n in statistics["examples"].items()),
        "",
        f"Example lengths run from {statistics['shortest']:,} to {statistics['longest']:,} tokens.",
        "",
        "![lengths](plots/lengths.svg) ![places of needed evidence](plots/places.svg)",
        "",
        "![distances of needed evidence](plots/distances.svg) ![drops](plots/drops.svg)",
        *(["", "![the teacher's right samples](plots/pass_rates.svg)"] if pass_rates(statistics, accounts) else []),
        "",
        "## Licences of the evidence",
        "",
        "| licence | pieces |",
        "|---|---:|",
        *(f"| {licence} | {n:,} |" for licence, n in statistics["licences"].items()),
        "",
        "## Where the trajectories went",
        "",
        "| | count |",
        "|---|---:|",
        f"| trajectories selected | {accounts.selected:,} |",
        *(f"| dropped: {reason} | {n:,} |" for reason, n in accounts.trajectories_dropped.items()),
        f"| examples built | {accounts.built:,} |",
        *(f"| dropped: {reason} | {n:,} |" for reason, n in accounts.examples_dropped.items()),
        f"| **published** | **{accounts.published:,}** |",
        "",
        "`manifest.json` holds the recipe, the accounts and a checksum of every file; `drops.jsonl` lists every drop",
        "with its words; `canonical/` holds every example with the source and byte range of each piece.",
        "",
    ]
    return "\n".join(lines)


def front_matter(name: str, configs: Mapping[str, Sequence[str]]) -> str:
    """One folder holds files of one format, since `load_dataset` reads a whole folder with one reader."""
    front = {
        "pretty_name": name,
        "task_categories": ["question-answering", "text-generation"],
        "tags": ["long-context", "agent-context-compilation"],
        "configs": [
            {"config_name": config, "data_files": [{"split": "train", "path": list(paths)}]}
            for config, paths in configs.items()
        ],
    }
    return f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---"
