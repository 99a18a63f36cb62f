"""The canonical example: what is asked, the target, and where each byte of the context came from.

The prompt itself is not in it: it follows from the template, the question and the pieces' blobs
(`compiler.assemble.prompt_of`), so that an example is small until it is written.
"""

from typing import Literal

from compiler.transforms import Step
from envs.frozen import Frozen

Config = Literal["search_agent", "swe_agent", "sql_agent"]
AnswerKind = Literal["text", "rows", "patch"]
CONFIGS: dict[str, Config] = {"search": "search_agent", "swe": "swe_agent", "sql": "sql_agent"}


class Piece(Frozen):
    """One placed piece of context. `start` and `end` are bytes of the prompt's UTF-8, half open."""

    role: Literal["needed", "distractor"]
    kind: Literal["document", "file", "table"]
    source: str
    version: str
    title: str
    licence: str
    """Empty where nobody said."""
    blob: str
    """sha256 of the source bytes."""
    encoding: str
    steps: tuple[Step, ...]
    rendered: str
    """sha256 of the placed bytes."""
    start: int
    end: int
    tokens: int
    tier: int
    """0 needed; 1 opened and not needed; 2 listed and never opened; 3 met by another attempt at the same question;
    4 met elsewhere in the same corpus, repository or database, or one of its tables."""
    neutralised: tuple[str, ...] = ()


class Asked(Frozen):
    """How often a model was right about an example, shown one view of its context."""

    by: str
    """The recipe's field: teacher, closed_book, shortcut or necessity."""
    view: str
    """whole, nothing, top_piece, window, or without: the whole but one piece."""
    source: str = ""
    """The piece that was left out."""
    right: int
    of: int
    cut: int = 0
    """Of these, replies that were cut off before their end, or prompts that were too long for the model."""

    @property
    def words(self) -> str:
        return f"{self.right} of {self.of}" + (f"; {self.cut} cut off" if self.cut else "")

    @property
    def share(self) -> float:
        return self.right / self.of


class Example(Frozen):
    """A plan that every output is written from."""

    id: str
    """sha256 over config, template, question, placed pieces and target."""
    config: Config
    trajectory: str
    trajectory_hash: str
    task: str
    group: str
    split: str
    model: str
    template: str
    """Name and version of the prompt template."""
    question: str
    """As it stands in the prompt, control strings neutralised."""
    question_at: tuple[int, int]
    """Its byte range in the prompt."""
    answer: str
    """What the assistant says: the ground truth with control strings neutralised."""
    reasoning: str | None
    ground_truth: str
    answer_kind: AnswerKind
    context_length: str
    prompt_tokens: int
    """Of the prompt's own text."""
    target_tokens: int
    tokens: int
    """With the chat template; prompt and target encoded apart, as they are when a model is asked and replies."""
    pieces: tuple[Piece, ...]
    sketch: str = ""
    """Of the needed evidence (compiler.sketch), as hex."""
    labels: dict[str, str] = {}
    """What audits found, by audit."""
    left_out: dict[str, int] = {}
    """Pieces met and not placed, by reason."""
    asked: tuple[Asked, ...] = ()
    """What models made of it, in the order they were asked."""
