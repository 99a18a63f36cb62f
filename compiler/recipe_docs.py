"""docs/recipes.md and docs/recipe.schema.json, as the recipe's own fields have them."""

import re
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import orjson
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from compiler import select
from compiler.part import Part
from compiler.recipe import Recipe, recipe_schema

HEAD = """# Recipes

A recipe is a YAML or JSON file of these fields, each with a default; `trajc compile RECIPE` compiles it, and
`trajc compile RUN` is short for a recipe that names one run. A field that does not exist, or a value that does not fit,
is refused with the field's name. The JSON Schema is [recipe.schema.json](recipe.schema.json). The command's exit status
is 1 where the compilation failed and 3 where no example was published; `trajc inspect COMPILATION` tells how it stands,
and what it waits for. Files that a recipe names are read where the service runs.

```yaml
runs: [run_01jd2x]
select: select id from trajectories where verdict = 'right' and turns between 5 and 40
token_budget: 65536
formats: [messages, tokenised]
```

## Models that a recipe asks

A teacher writes targets; audits ask whether an example is answered from less than its whole context:

```yaml
runs: [run_01jd2x]
target: teacher
teacher:
  model: qwen3
  base_urls: ["http://127.0.0.1:8000/v1"]
  samples: 4
  sampling: {temperature: 0.7, seed: 1, max_tokens: 16384}
closed_book: {model: qwen3, samples: 4, sampling: {temperature: 0.7, seed: 1}}
shortcut: {model: qwen3, action: label}
necessity: {model: qwen3, least: 2}
```

They are asked in this order, and about what one drops the next is not asked: `closed_book` (the question alone),
`shortcut` (the piece, or the stretch, that BM25 ranks first), the teacher (the whole prompt), `necessity` (the whole,
then without each needed piece in turn). `trajc compile RECIPE --estimate` tells how many calls that is, with how many
tokens of prompts, before anybody is asked; as nobody is, it is an upper bound.

Each sample is a job of the queue (`trajc serve`, or `trajc worker generation` where there is a Redis), scored by the
environment's own scorer: a patch is applied in a fresh sandbox and the hidden tests run. A reply is kept before it is
scored and paid for once: compiling again, after a kill, with another selection or as part of another recipe that asks
the same, takes it from the store. A new version of a scorer judges kept replies anew.

- Of a teacher's samples the first right one becomes the target; an example without any is dropped
  (`teacher_never_right`). Reasoning is taken from the field `reasoning` (or `reasoning_content`) or from `<think>`.
- An audit drops what is answered (`closed_book`, `shortcut`, `spare_pieces`), or labels it (`action: label`). What the
  model made of each view stands in the column `asked` of `canonical/`, the counts of labels in manifest and card.
- A reply that was cut off (`max_tokens`), or a prompt too long for the model, is not right and is counted apart:
  `not answered (0 of 4; 4 cut off)` says that the audit told nothing.
- A call that fails for good is neither passed nor failed: its example is dropped as `audit_failed` or
  `teacher_failed` (an audit that labels says `failed`), and counted. Above the share `most_failed` the compilation
  fails and publishes nothing. Either way the next compilation asks again for what failed, and for nothing else.
- Up to 64 examples of a shard wait for one model at a time; how many calls are in flight is the worker's
  `--concurrency` (`TRAJC_CONCURRENCY` for `trajc serve`).
- `trajc cancel COMPILATION` ends one that waits: what nobody has begun to ask is not asked, what is under way is kept.

## Distractors

What the agent met and did not need comes first: pages opened and files inspected (tier 1), then pages listed and never
opened (tier 2). `siblings` adds what other trajectories of the same compilation met: other attempts at the same
question (tier 3), then any over the same corpus, repository or database (tier 4). They fill an example up to
`fill_tokens`, or up to the budget; evidence always stands. A page that holds a right answer (of more than three
characters) is not taken from a sibling, nor is a gold document; files and tables are taken by name, as they are in the
task's own tree or database, so that a later commit's mended file never stands beside the bug.

```yaml
runs: [run_01jd2x]
fill_tokens: 65536
search: {siblings: world}
swe: {siblings: task}
```

## Train and validation

```yaml
runs: [run_01jd2x]
split: {validation: 0.1, documents: needed}
```

No repository (SWE) and no database (SQL) is on both sides; of search examples, none that share a document, the
question, the task or its group. What hangs together, directly or through others, is a cluster. Clusters come in seeded
order, and validation takes those that fit its share; where none fits (three databases, say), the smallest one. A
cluster of nearly everything is train, and validation is then smaller than wanted or empty: manifest, card and the
command say so, with the size of that cluster. Siblings and popular distractors make such clusters; `documents: needed`
lets distractors stand on both sides and looks at needed documents alone.

Files of train and validation are `*-train*` and `*-validation*`, and in the released form `<config>_data.jsonl` and
`<config>_validation.jsonl`; `datasets.load_dataset` gives both splits, and `trajc verify` looks for what stands in
both.

## How a compilation is done

A compilation is planned into shards of 64 trajectories; each shard is a job, and the last to stand orders the
publication. With a Redis, `trajc worker compile` processes share the shards; without one, TRAJC_COMPILE_WORKERS
processes do. A shard that stands is not compiled again after a kill, and nothing is seen before the version is whole.
What was rendered and counted once is kept, so that a recipe that changes its seed, formats, caps or split renders
nothing again.

A run that names a recipe is prepared while it goes on: of trajectories that have finished, pieces are rendered and
counted, and models are asked. Which examples are published, and where, is decided over the whole dataset, so the
version is assembled when the run is sealed and done, from what is there already. Its bytes are those of a compilation
that began after the end.
"""


def recipes_page() -> str:
    """The Markdown of docs/recipes.md."""
    parts = [HEAD, _table("Fields", Recipe)]
    parts += [_table(f"`{name}`", part) for name, field in Recipe.model_fields.items() if (part := _part(field))]
    parts.append("## The view `trajectories`\n\n" + _view())
    return "\n".join(parts)


def schema_file() -> bytes:
    """The bytes of docs/recipe.schema.json."""
    return orjson.dumps(recipe_schema(), option=orjson.OPT_INDENT_2) + b"\n"


def _table(title: str, part: type[Part]) -> str:
    doc = " ".join((part.__doc__ or "").split()) if "__doc__" in part.__dict__ and part.__doc__ else ""
    rows = [
        f"## {title}",
        "",
        *([doc, ""] if doc else []),
        "| field | type | default | what it is |",
        "|---|---|---|---|",
    ]
    for name, field in part.model_fields.items():
        words = " ".join((field.description or "").split()).replace("|", "\\|")
        rows.append(f"| `{name}` | {_type(field)} | {_default(field)} | {words} |")
    return "\n".join(rows) + "\n"


def _view() -> str:
    """From the module's docstring, whose indented lines are the columns."""
    told = dict(re.findall(r"^    (\w+) +(?:text|double|bigint|boolean) +(.+)$", select.__doc__ or "", re.MULTILINE))
    rows = ["`select` reads this view and nothing else, with DuckDB's functions.", "", "| column | type | what it is |"]
    rows += ["|---|---|---|", *(f"| `{column.name}` | {column.type} | {told[column.name]} |" for column in select.VIEW)]
    return "\n".join(rows) + "\n"


def _part(field: FieldInfo) -> type[Part] | None:
    """The part of a recipe that stands in this field."""
    for one in (field.annotation, *get_args(field.annotation)):
        if isinstance(one, type) and issubclass(one, Part):
            return one
    return None


def _type(field: FieldInfo) -> str:
    bounds = [
        f"{sign} {limit}"
        for m in field.metadata
        for name, sign in _SIGNS
        if (limit := getattr(m, name, None)) is not None
    ]
    return _words(field.annotation) + (f", {' and '.join(bounds)}" if bounds else "")


_SIGNS = (("ge", "at least"), ("gt", "more than"), ("le", "at most"), ("min_length", "at least"))


def _words(annotation: Any) -> str:
    arguments = get_args(annotation)
    match get_origin(annotation):
        case None if isinstance(annotation, type) and issubclass(annotation, Part):
            return "fields, see below"
        case None:
            return {str: "text", int: "integer", float: "number", bool: "true or false", Any: "anything"}.get(
                annotation, str(annotation)
            )
        case origin if origin is Literal:
            return ", ".join(f"`{one}`" for one in arguments)
        case origin if origin in (Union, UnionType):
            return " or ".join("nothing" if one is NoneType else _words(one) for one in arguments)
        case origin if origin is dict:
            return f"{_words(arguments[0])}: {_words(arguments[1])}"
        case _ if Ellipsis in arguments:
            return f"list of {_words(arguments[0])}"
        case _:
            return f"[{', '.join(map(_words, arguments))}]"


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is PydanticUndefined:
        return "must be given"
    if isinstance(value, Part):
        return ""
    return "" if value in (None, (), {}) else f"`{orjson.dumps(value).decode()}`"
