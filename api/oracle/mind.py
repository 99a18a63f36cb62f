"""From a request to the next assistant message: find the task, choose the policy, decide. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from api.oracle.chance import Chance
from api.oracle.completion import is_malformed
from api.oracle.conversation import Conversation
from api.oracle.known import Known, Library
from api.oracle.moves import Moment, Move, Policy, Step
from api.oracle.reading import holds_evidence
from api.oracle.recorded import Recording, playing
from api.oracle.refusal import Refusal
from api.oracle.search import search_policy
from api.oracle.settings import OracleSettings
from api.oracle.sql import sql_policy
from api.oracle.swe import swe_policy
from api.oracle.teacher import cannot_tell, teach

POLICIES: Mapping[str, Policy] = {"search": search_policy, "sql": sql_policy, "swe": swe_policy}


@dataclass(frozen=True)
class Mind:
    """`recordings` go before the environment's own policy, task by task."""

    library: Library
    settings: OracleSettings
    recordings: Iterable[Recording] = ()
    _players: Mapping[str, Policy] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_players", playing(self.recordings))

    def find(self, conversation: Conversation) -> Known:
        """Raises `Refusal` 404 naming what was looked for."""
        if conversation.model != self.settings.model:
            raise Refusal(404, f"The model `{conversation.model}` does not exist; this is `{self.settings.model}`.")
        known = self.library.asked(conversation.first)
        if known is None and not conversation.tools:
            known = self.library.contained(conversation.first)
        if known is None:
            raise Refusal(
                404,
                f"no task begins with the message {conversation.first[:120]!r}; {len(self.library.known)} tasks are "
                "loaded: start the oracle with the task file that this one is from",
                param="messages",
            )
        return known

    def chance(self, known: Known, conversation: Conversation, sample: int) -> Chance:
        return Chance((str(self.settings.seed), known.task.id, conversation.seed, str(sample)))

    def decide(self, known: Known, conversation: Conversation, sample: int) -> Move:
        """Raises `Refusal` where the task's environment has no policy or the tools are not offered."""
        chance = self.chance(known, conversation, sample)
        environment = known.task.environment
        steps, broken = self._sound(conversation.steps, chance)
        moment = Moment(
            task=known.task,
            reference=known.reference,
            steps=steps,
            turn=conversation.turn - broken,
            chance=chance,
            wrong=chance.happens(self.settings.wrong, "wrong"),
            detours=self.settings.detours,
            tools=conversation.tools,
            others=self.library.references(environment),
        )
        if not conversation.tools:
            return teach(moment) if self._can_tell(known, conversation.first) else cannot_tell()
        if player := self._players.get(known.task.id):
            return player(moment)
        if environment not in POLICIES:
            raise Refusal(400, f"no policy for the environment {environment!r}; known: {', '.join(POLICIES)}")
        move = POLICIES[environment](moment)
        for one in move.calls:
            if one.name not in conversation.tools:
                raise Refusal(400, f"the request offers no tool {one.name!r}", param="tools")
        return move

    def _can_tell(self, known: Known, prompt: str) -> bool:
        """Raises `Refusal` where that was planted."""
        plant = (self.settings.planted or {}).get(known.task.id)
        if plant is None:
            return not self.settings.teacher_reads or holds_evidence(known, prompt)
        if plant.refuses:
            raise Refusal(400, f"task {known.task.id} is refused, as was planted")
        return plant.answers(known.task.question, prompt)

    def _sound(self, steps: tuple[Step, ...], chance: Chance) -> tuple[tuple[Step, ...], int]:
        """The steps without those whose arguments this oracle broke, which each came first in their message; and
        how many those were."""
        broken: set[int] = set()
        kept = []
        for step in steps:
            if step.turn not in broken and is_malformed(self.settings.faults, chance, step.turn):
                broken.add(step.turn)
            else:
                kept.append(step)
        return tuple(kept), len(broken)
