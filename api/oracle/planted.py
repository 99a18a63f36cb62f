"""What an oracle that is asked without tools knows of single tasks: so that each audit has an exact test."""

from collections.abc import Mapping
from pathlib import Path

import orjson
from pydantic import TypeAdapter, ValidationError

from envs.frozen import Frozen


class Plant(Frozen):
    """Of one task. It is answered where it is known, or where all that it needs stands in the prompt."""

    knows: bool = False
    """Known by heart: answered whatever the prompt holds."""
    needs: tuple[str, ...] = ()
    """Texts that must all stand in the prompt, the question apart."""
    refuses: bool = False
    """Every request is refused (400): a call that fails for good."""

    def answers(self, question: str, prompt: str) -> bool:
        rest = prompt.replace(question.strip(), " ", 1)
        return self.knows or (bool(self.needs) and all(text in rest for text in self.needs))


def load_planted(path: Path) -> Mapping[str, Plant]:
    """From a JSON object, task id -> plant. Raises `ValueError` naming the file."""
    try:
        return TypeAdapter(dict[str, Plant]).validate_python(orjson.loads(path.read_bytes()))
    except (orjson.JSONDecodeError, ValidationError) as e:
        raise ValueError(f"{path}: {e}") from None
