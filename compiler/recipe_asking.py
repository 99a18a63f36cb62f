"""The parts of a recipe that ask a model: a teacher for targets, audits for what it takes to answer."""

from typing import Any, Literal

from pydantic import Field, field_validator

from compiler.part import Part
from rollout.runs import plain_urls


class Asking(Part):
    """Calls of a model. Each is a job of the queue: scored by the environment's own scorer, and paid for once."""

    samples: int = Field(default=1, ge=1)
    """Replies to each prompt."""
    model: str | None = None
    """None: the model of the service's settings."""
    base_urls: tuple[str, ...] = ()
    """OpenAI-compatible endpoints; none means those of the service's settings. Not told in the manifest."""
    sampling: dict[str, Any] = {}
    """Sent with every call: temperature, top_p, max_tokens ... A `seed` is the first sample's, the next one's is one
    more: give one, or a temperature, where `samples` is above 1."""

    @field_validator("base_urls")
    @classmethod
    def _no_credentials(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        return plain_urls(urls)


class TeacherPolicy(Asking):
    """Reasoning and answer written by a model over the compiled prompt; only right ones become targets. The first
    right sample is taken, and the share of right ones is kept. Distractors leave room for a reply of `max_tokens`, or
    of an eighth of the budget where `sampling` names none; of half the budget at most."""

    def room(self, budget: int) -> int:
        """Tokens that a reply may have within the budget."""
        most = self.sampling.get("max_completion_tokens", self.sampling.get("max_tokens"))
        return min(most, budget // 2) if isinstance(most, int) else budget // 8


class Audit(Asking):
    """Whether a model answers from less than the whole context."""

    action: Literal["drop", "label"] = "drop"
    """What becomes of an example that is answered so: dropped with the audit's reason, or kept with a label."""
    threshold: float = Field(default=0.5, gt=0, le=1)
    """The share of right samples from which on a prompt counts as answered."""


class ClosedBook(Audit):
    """The question without any context. What is answered so is known already (`closed_book`)."""


class Shortcut(Audit):
    """A part of the context alone. What is answered so needs no long context (`shortcut`). A view that would hold
    the whole context is not asked."""

    views: tuple[Literal["top_piece", "window"], ...] = Field(default=("top_piece", "window"), min_length=1)
    """`top_piece`: only the piece that BM25 ranks first for the question. `window`: only the stretch of
    `window_tokens` that it ranks first, wherever that begins."""
    window_tokens: int = Field(default=4096, ge=64)


class Necessity(Audit):
    """The context without one needed piece, for each of them; a piece without which the question is still answered is
    spare. Asked only of examples that the model answers from the whole context; the others are labelled."""

    least: int | None = Field(default=None, ge=1)
    """Examples with fewer necessary pieces are dropped (`spare_pieces`). None: every needed piece must be
    necessary."""
