"""The dataset card: README.md with the YAML front matter that `datasets.load_dataset` reads configs from."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from compiler.drops import Accounts
from compiler.formats.portion import released
from compiler.plots import pass_rates
from compiler.split import Side

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
    sides: Mapping[str, Side],
    accounts: Accounts,
    statistics: Mapping[str, Any],
    warnings: Sequence[str],
) -> str:
    """`sides`: how each config was divided, where that was asked for. `warnings` as the manifest has them."""
    lines = [
        front_matter(name, {config: released(config, sides.get(config)) for config in statistics["examples"]}),
        f"# {name}",
        "",
        "Agent trajectories compiled into long-context examples: the evidence that an agent gathered over many turns,",
        "shuffled into one prompt, and the verified answer to its question.",
        "",
        *([] if target == "answer_only" else [TAUGHT, ""]),
        *(line for warning in warnings for line in (f"> {warning}", "")),
        "| config | examples | tokens |",
        "|---|---:|---:|",
        *(f"| {c} | {n:,} | {statistics['tokens'][c]:,} |" for c, n in statistics["examples"].items()),
        "",
        *_divided(sides),
        f"Example lengths run from {statistics['shortest']:,} to {statistics['longest']:,} tokens.",
        "",
        "![lengths](plots/lengths.svg) ![places of needed evidence](plots/places.svg)",
        "",
        "![distances of needed evidence](plots/distances.svg) ![drops](plots/drops.svg)",
        *(["", "![the teacher's right samples](plots/pass_rates.svg)"] if pass_rates(statistics, accounts) else []),
        "",
        "## Audits",
        "",
        "What audits found of the examples here; what they dropped is told below. An audit that asks a model is one of",
        "the recipe's fields, and `asked` in `canonical/` tells what the model made of each view of the context.",
        "",
        "| audit | examples |",
        "|---|---:|",
        *(f"| {label} | {n:,} |" for label, n in statistics["labels"].items()),
        "",
        "## Licences of the evidence",
        "",
        "| licence | pieces |",
        "|---|---:|",
        *(f"| {_cell(licence)} | {n:,} |" for licence, n in statistics["licences"].items()),
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


def _cell(words: str) -> str:
    """As sources say it, in one cell of a table."""
    return " ".join(words.split()).replace("|", "\\|").replace("<", "&lt;")


def _divided(sides: Mapping[str, Side]) -> list[str]:
    if not sides:
        return []
    return [
        "Train and validation share no repository, no database, and of search no document as the recipe's `split` has",
        "it, no question and no group; examples that share one are a cluster and stand on one side.",
        "",
        "| config | train | validation | clusters | largest cluster |",
        "|---|---:|---:|---:|---:|",
        *(f"| {c} | {s.train:,} | {s.validation:,} | {s.clusters:,} | {s.largest:,} |" for c, s in sides.items()),
        "",
    ]


def front_matter(name: str, files: Mapping[str, Mapping[str, str]]) -> str:
    """One folder holds files of one format, since `load_dataset` reads a whole folder with one reader."""
    front = {
        "pretty_name": name,
        "task_categories": ["question-answering", "text-generation"],
        "tags": ["long-context", "agent-context-compilation"],
        "configs": [
            {"config_name": config, "data_files": [{"split": s, "path": [path]} for s, path in splits.items()]}
            for config, splits in files.items()
        ],
    }
    return f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---"
