"""The recipe: a typed, frozen description of one compilation, and how it is read from a file.

Everything has a default; `Recipe(runs=("run_...",))` is a whole recipe. Equal recipes over equal rows give equal bytes.
"""

from pathlib import Path
from typing import Any, Literal

import orjson
import yaml
from pydantic import Field, ValidationError, model_validator

from compiler.errors import RecipeError
from envs.frozen import Frozen

K = 1024


class SearchPolicy(Frozen):
    """Evidence: the full text of every page that the agent visited. Distractors: what its searches listed."""

    needed: Literal["visited", "gold"] = "visited"
    """`gold` keeps as needed only the reference's gold documents; other visited pages become tier-1 distractors."""
    distractors: Literal["listed", "none"] = "listed"


class SwePolicy(Frozen):
    """Evidence: the files that the correct patch touches, before it. Distractors: other files inspected."""

    distractors: Literal["inspected", "none"] = "inspected"


class SqlPolicy(Frozen):
    """Evidence: the full contents of the tables that successful queries read."""

    distractors: Literal["none", "near"] = "none"
    """`near` adds other tables of the same database, those that share most column names first."""
    max_rows: int = Field(default=20, ge=1)
    """Answers of more rows are dropped (`answer_rows`)."""
    min_rows: int = Field(default=1, ge=0)


class Recipe(Frozen):
    runs: tuple[str, ...] = ()
    """Compile the trajectories of these runs. None: every trajectory in the store."""
    environments: tuple[Literal["search", "swe", "sql"], ...] = ("search", "swe", "sql")
    include_oracle: bool = False
    """Whether trajectories of the oracle policy (`model: oracle`) are taken."""
    search: SearchPolicy = SearchPolicy()
    swe: SwePolicy = SwePolicy()
    sql: SqlPolicy = SqlPolicy()
    tokenizer: str = "qwen3"
    """`qwen3`, or the path of a Hugging Face tokenizer.json."""
    chat_template: Literal["chatml", "none"] = "chatml"
    """What is counted around the two messages."""
    token_budget: int = Field(default=128 * K, ge=1)
    """Prompt, target and chat template together, in tokens."""
    min_tokens: int = Field(default=0, ge=0)
    """Shorter examples are dropped (`too_short`)."""
    fill_tokens: int | None = Field(default=None, ge=1)
    """Take distractors only until an example has about this many tokens. None: as many as the budget takes."""
    buckets: tuple[int, ...] = (1 * K, 2 * K, 4 * K, 8 * K, 16 * K, 32 * K, 50 * K, 64 * K, 100 * K, 128 * K)
    """Upper edges, in tokens, of the `context_length` labels: an example gets the first that holds it."""
    target: Literal["answer_only"] = "answer_only"
    seed: int = 0

    @model_validator(mode="after")
    def _consistent(self) -> "Recipe":
        if self.fill_tokens is not None and self.fill_tokens > self.token_budget:
            raise ValueError("fill_tokens must not exceed token_budget")
        if list(self.buckets) != sorted(set(self.buckets)) or not self.buckets or self.buckets[0] < 1:
            raise ValueError("buckets must be rising positive numbers")
        return self

    def label(self, tokens: int) -> str:
        """`100k` for the bucket that ends at 100 * 1024 tokens; above the last edge `>128k`."""
        for edge in self.buckets:
            if tokens <= edge:
                return _words(edge)
        return f">{_words(self.buckets[-1])}"


def _words(edge: int) -> str:
    return f"{edge // K}k" if edge % K == 0 else str(edge)


def parse_recipe(data: Any, where: str = "recipe") -> Recipe:
    """Raises `RecipeError` that names `where` and each wrong field."""
    if not isinstance(data, dict):
        raise RecipeError(f"{where}: a recipe is a mapping of fields, not {type(data).__name__}")
    try:
        return Recipe.model_validate(data)
    except ValidationError as e:
        faults = "; ".join(f"{'.'.join(map(str, f['loc'])) or 'recipe'}: {f['msg']}" for f in e.errors())
        raise RecipeError(f"{where}: {faults}; known fields: {', '.join(Recipe.model_fields)}") from None


def load_recipe(path: Path) -> Recipe:
    """From a .yaml, .yml or .json file. Raises `RecipeError`."""
    try:
        text = path.read_text()
        data = orjson.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except OSError as e:
        raise RecipeError(f"{path}: {e.strerror}") from e
    except (orjson.JSONDecodeError, yaml.YAMLError) as e:
        raise RecipeError(f"{path}: {e}") from e
    return parse_recipe(data, str(path))
