"""The seam to models that are asked about an example: a teacher for its target, audits for what it takes to answer it.

Owns what is asked and what comes back; how replies are made (queued, resumed, paid once) is the caller's.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

from compiler.candidate import Candidate
from compiler.drops import Dropped
from compiler.example import Asked, Example
from compiler.recipe_asking import Asking
from envs.frozen import Frozen

AHEAD = 64
"""Examples, and their trajectories in memory, that wait for one stage's replies."""


class Sample(Frozen):
    """One reply to a prompt."""

    reasoning: str | None
    content: str
    right: bool
    """Whether the environment's own scorer calls its answer (`compiler.reply.answer_of`) right."""
    cut: bool = False
    """Whether the reply was cut off, or the prompt too long for the model: it tells nothing of what the model knows."""


class Unanswered(Exception):
    """A call failed for good, or its reply could not be scored. Asked again by the next compilation."""


class NotAsked(Exception):
    """Nobody is asked in an estimate: the example goes on as it is."""


Samples = Callable[[], Sequence[Sample]]
"""Waits until they are in. Raises `Unanswered`; other errors say that the compilation cannot go on."""


class Asker(Protocol):
    def ask(self, asking: Asking, prompt: str, tokens: int, example: Example, candidate: Candidate) -> Samples:
        """Order the samples of a prompt of about so many tokens, which come in the same order each time. Does not
        wait for them. They are scored as answers to the example's question."""
        ...


def tally(samples: Sequence[Sample], by: str, view: str, source: str = "") -> Asked:
    right, cut = sum(s.right for s in samples), sum(s.cut for s in samples)
    return Asked(by=by, view=view, source=source, right=right, of=len(samples), cut=cut)


Judged = Callable[[], Example]
"""Waits for what was asked. Raises `Dropped`, or `NotAsked` in an estimate."""

Stage = Callable[[Example, Candidate], Judged]
"""Asks about an example without waiting."""

Outcome = tuple[Candidate, Example | Dropped]


def through(outcomes: Iterable[Outcome], stage: Stage, ahead: int = AHEAD) -> Iterator[Outcome]:
    """The same candidates in the same order, their examples as the stage judges them; up to `ahead` of them are asked
    about at once. What one stage drops is never asked about by the next: put the cheap ones first."""
    asked: list[tuple[Candidate, Judged | Dropped, Example | None]] = []
    rest = iter(outcomes)
    while True:
        while len(asked) < ahead and (following := next(rest, None)) is not None:
            candidate, found = following
            if isinstance(found, Dropped):
                asked.append((candidate, found, None))
            else:
                asked.append((candidate, stage(found, candidate), found))
        if not asked:
            return
        candidate, judged, before = asked.pop(0)
        yield candidate, judged if isinstance(judged, Dropped) else _judgement(judged, before)


def _judgement(judged: Judged, before: Example | None) -> Example | Dropped:
    try:
        return judged()
    except Dropped as dropped:
        return dropped
    except NotAsked:
        assert before is not None
        return before
