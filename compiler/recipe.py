"""The recipe: a typed, frozen description of one compilation, and how it is read from a file.

Everything has a default; `Recipe(runs=("run_...",))` is a whole recipe. Equal recipes over equal rows give equal bytes.
"""

from pathlib import Path
from typing import Any, Literal

import orjson
import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from compiler.errors import RecipeError
from compiler.part import Part
from compiler.recipe_asking import Asking, ClosedBook, Necessity, Shortcut, TeacherPolicy
from compiler.recipe_split import Split
from compiler.select import check_select

K = 1024


class SearchPolicy(Part):
    """Evidence: the full text of every page that the agent visited. Distractors: what its searches listed."""

    needed: Literal["visited", "gold"] = "visited"
    """`gold` keeps as needed only the reference's gold documents; other visited pages become tier-1 distractors."""
    distractors: Literal["listed", "none"] = "listed"
    siblings: Literal["none", "task", "world"] = "none"
    """What other trajectories of this compilation met fills an example after its own distractors: other attempts at
    the same question, with `world` then any over the same corpus. No page that holds an answer is taken."""


class SwePolicy(Part):
    """Evidence: the files that the correct patch touches, before it. Distractors: other files inspected."""

    distractors: Literal["inspected", "none"] = "inspected"
    siblings: Literal["none", "task", "world"] = "none"
    """Likewise: files that other attempts, with `world` any in the same repository, inspected; as they are in the
    task's own tree."""


class SqlPolicy(Part):
    """Evidence: the full contents of the tables that successful queries read."""

    distractors: Literal["none", "near"] = "none"
    """`near` adds other tables of the same database, those that share most column names first."""
    siblings: Literal["none", "task", "world"] = "none"
    """Likewise: tables that other attempts, with `world` any query over the same database, read. They come before
    near tables."""
    max_rows: int = Field(default=20, ge=1)
    """Answers of more rows are dropped (`answer_rows`)."""
    min_rows: int = Field(default=1, ge=0)


class NearDuplicates(Part):
    """Examples of one answer are near duplicates where both of these are alike; the first in key order is kept."""

    context: float = Field(default=0.9, ge=0, le=1)
    """Similarity of the needed evidence: estimated Jaccard index of its windows (compiler.sketch). 0: questions alone
    decide."""
    question: float = Field(default=0.8, ge=0, le=1)
    """Jaccard index of the questions' words. 0: contexts alone decide."""
    any_answer: bool = False
    """Whether examples of different answers can be near duplicates too."""

    @model_validator(mode="after")
    def _something(self) -> "NearDuplicates":
        if not self.context and not self.question:
            raise ValueError("context or question must be above 0: else everything is alike")
        return self


class Decontamination(Part):
    """Overlap with evaluation sets. Contaminated distractors are left out; contaminated evidence drops the example."""

    files: tuple[str, ...] = Field(min_length=1)
    """JSONL, JSON or Parquet rows, MRCR and GraphWalks among them, or plain text."""
    words: int = Field(default=13, ge=3)
    """So many consecutive words in common are an overlap; in scripts without spaces each sign is a word."""
    shortest: int = Field(default=8, ge=1)
    """A text of theirs of fewer than `words` words, but at least so many, is an overlap where it stands whole."""


class Placement(Part):
    """Where needed pieces stand. Without it: one permutation of all pieces, uniform over seeds."""

    span: tuple[float, float] = (0.0, 1.0)
    """The share of the context from the first needed piece to the last is drawn evenly from here, and the place of
    that stretch evenly from where it fits; (0.0, 0.1) keeps evidence close together, (0.8, 1.0) far apart."""

    @model_validator(mode="after")
    def _rising(self) -> "Placement":
        if not 0 <= self.span[0] <= self.span[1] <= 1:
            raise ValueError("span must be two rising shares between 0 and 1")
        return self


Format = Literal["acc", "messages", "ms_swift", "llama_factory", "verl", "tokenised", "agent_sft"]


class Recipe(Part):
    runs: tuple[str, ...] = ()
    """Compile the trajectories of these runs. None: every trajectory in the store."""
    select: str | None = None
    """Of those, the ones whose ids this SELECT over the view `trajectories` gives. None: all."""
    environments: tuple[Literal["search", "swe", "sql"], ...] = ("search", "swe", "sql")
    """Trajectories of other environments are dropped (`environment`)."""
    include_oracle: bool = False
    """Whether trajectories of the oracle policy (`model: oracle`) are taken."""
    search: SearchPolicy = SearchPolicy()
    """What search trajectories give."""
    swe: SwePolicy = SwePolicy()
    """What SWE trajectories give."""
    sql: SqlPolicy = SqlPolicy()
    """What SQL trajectories give."""
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
    placement: Placement | None = None
    """Where needed pieces stand. None: one permutation of all pieces, uniform over seeds."""
    target: Literal["answer_only", "teacher"] = "answer_only"
    """What is learnt: the ground truth alone, or a teacher's reasoning and answer."""
    teacher: TeacherPolicy = TeacherPolicy()
    """Who that is, where the target asks for one."""
    closed_book: ClosedBook | None = None
    """Audit by a model: is it answered without any context? None: not asked. So are the two that follow."""
    shortcut: Shortcut | None = None
    """Audit by a model: is it answered from one piece, or from a short stretch?"""
    necessity: Necessity | None = None
    """Audit by a model: which needed pieces is it answered without?"""
    most_failed: float = Field(default=0.1, ge=0, le=1)
    """The largest share of examples whose calls may fail for good. They are dropped (`audit_failed`,
    `teacher_failed`); where they are more, the compilation fails. The next one asks again for what failed alone."""
    near_duplicates: NearDuplicates | None = NearDuplicates()
    """None keeps near duplicates; exact ones are always dropped."""
    group_cap: int | None = Field(default=None, ge=1)
    """At most so many examples of one repository, database or document family."""
    source_cap: int | None = Field(default=None, ge=1)
    """At most so many examples that need one and the same document, file or table."""
    mixture: dict[Literal["search", "swe", "sql"], float] = {}
    """Weights by environment: the largest dataset in these proportions is published. Empty: everything."""
    decontamination: Decontamination | None = None
    """Evaluation sets that nothing may overlap with."""
    split: Split | None = None
    """None: one split, `train`."""
    formats: tuple[Format, ...] = ("acc",)
    """`acc` and the canonical Parquet are always written."""
    reasoning_form: Literal["think", "field"] = "think"
    """In `messages` formats: reasoning inside `<think>`, or as the field `reasoning_content`."""
    seed: int = 0
    """Of every order, place and choice of template."""

    @field_validator("select")
    @classmethod
    def _readable(cls, sql: str | None) -> str | None:
        if sql is not None:
            check_select(sql)
        return sql

    @model_validator(mode="after")
    def _consistent(self) -> "Recipe":
        if self.fill_tokens is not None and self.fill_tokens > self.token_budget:
            raise ValueError("fill_tokens must not exceed token_budget")
        if any(weight <= 0 for weight in self.mixture.values()):
            raise ValueError("mixture: weights must be positive; leave an environment out with `environments`")
        if list(self.buckets) != sorted(set(self.buckets)) or not self.buckets or self.buckets[0] < 1:
            raise ValueError("buckets must be rising positive numbers")
        return self

    @property
    def asked(self) -> dict[str, Asking]:
        """Whom this recipe asks about each example, by field, in the order they are asked: the cheap ones first, and
        the most expensive only about what is a target."""
        parts = {name: getattr(self, name) for name in ASKED}
        return {name: p for name, p in parts.items() if p and (name != "teacher" or self.target == "teacher")}

    @property
    def free_for_reply(self) -> int:
        """Tokens of the budget that distractors leave to a teacher's reply, whose length nobody knows yet."""
        if self.target != "teacher":
            return 0
        return min(self.teacher.room(self.token_budget), max(self.token_budget - self.min_tokens, 0))

    def told(self) -> dict[str, Any]:
        """As the manifest tells it: without where endpoints stand."""
        return self.model_dump(mode="json", exclude={name: {"base_urls"} for name in ASKED})

    def label(self, tokens: int) -> str:
        """`100k` for the bucket that ends at 100 * 1024 tokens; above the last edge `>128k`."""
        for edge in self.buckets:
            if tokens <= edge:
                return _words(edge)
        return f">{_words(self.buckets[-1])}"


ASKED = ("closed_book", "shortcut", "teacher", "necessity")


def recipe_schema() -> dict[str, Any]:
    """The recipe as JSON Schema."""
    return Recipe.model_json_schema()


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
        text = path.read_text("utf-8")
        data = orjson.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except OSError as e:
        raise RecipeError(f"{path}: {e.strerror}") from e
    except UnicodeDecodeError as e:
        raise RecipeError(f"{path}: a recipe is UTF-8 text, and byte {e.start} is none") from e
    except orjson.JSONDecodeError as e:
        raise RecipeError(f"{path}: {e}") from e
    except yaml.YAMLError as e:
        where = 'in "<unicode string>", '
        raise RecipeError(f"{path}: {str(e).replace(where, '')}") from e
    return parse_recipe(data, str(path))
