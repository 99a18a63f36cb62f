"""Tools as the model sees them, and what one call gives back."""

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from envs.blobs import Blob
from envs.evidence import Evidence
from envs.frozen import Frozen
from envs.score import Submission


class MalformedCall(Exception):
    """The model called a tool wrongly. The words go back to it as the tool's answer."""


@dataclass(frozen=True)
class ToolSpec:
    """A tool: its name, when to use it, and its arguments as a pydantic model whose field descriptions the
    language model reads."""

    name: str
    description: str
    arguments: type[BaseModel]

    @property
    def schema(self) -> dict[str, Any]:
        """The entry of an OpenAI request's `tools`."""
        parameters = self.arguments.model_json_schema()
        parameters.pop("title", None)
        parameters.pop("description", None)
        for field in parameters.get("properties", {}).values():
            field.pop("title", None)
        function = {"name": self.name, "description": self.description, "parameters": parameters}
        return {"type": "function", "function": function}

    def parse(self, arguments: Any) -> Any:
        """The arguments as the pydantic model. Raises `MalformedCall` naming each wrong field."""
        if not isinstance(arguments, dict):
            raise MalformedCall(
                f"{self.name}: the arguments must be a JSON object, not {type(arguments).__name__}; {self._usage}"
            )
        try:
            return self.arguments.model_validate(arguments)
        except ValidationError as e:
            faults = "; ".join(f"{'.'.join(map(str, f['loc'])) or 'arguments'}: {f['msg']}" for f in e.errors())
            raise MalformedCall(f"{self.name}: {faults}; {self._usage}") from None

    @property
    def _usage(self) -> str:
        fields = self.arguments.model_fields
        return "it takes " + (
            ", ".join(name if f.is_required() else f"{name} (optional)" for name, f in fields.items()) or "none"
        )


class ToolResult(Frozen):
    """What one tool call gave: what the model is shown and, apart from it, what there was."""

    text: str
    """Shown to the model, whole."""
    raw: Blob | None = None
    """The whole observation, where `text` is not all of it."""
    shown: tuple[tuple[int, int], ...] = ()
    """Half-open byte ranges of `raw` that stand in `text`."""
    hidden_bytes: int = 0
    """Bytes of `raw` that were not shown."""
    lost_bytes: int = 0
    """Bytes of the observation that are in no blob, because it outgrew the bound on what is kept."""
    is_error: bool = False
    submission: Submission | None = None
    """Set by the tool call that ends the rollout."""
    seconds: float = 0.0
    evidence: tuple[Evidence, ...] = ()

    @property
    def final(self) -> bool:
        return self.submission is not None


def cut_middle(text: str, limit: int) -> tuple[str, tuple[tuple[int, int], ...], int]:
    """At most about `limit` bytes of UTF-8: head and tail, with the number left out between them.

    Returns the shown text, the byte ranges of the original that it holds, and the bytes left out.
    """
    data = text.encode("utf-8", "surrogateescape")
    if len(data) <= limit:
        return text, ((0, len(data)),), 0
    head, tail = limit // 2, len(data) - (limit - limit // 2)
    while head > 0 and data[head] & 0xC0 == 0x80:
        head -= 1
    while tail < len(data) and data[tail] & 0xC0 == 0x80:
        tail += 1
    shown = (
        data[:head].decode("utf-8", "replace")
        + f"\n[... {tail - head} bytes left out ...]\n"
        + data[tail:].decode("utf-8", "replace")
    )
    return shown, ((0, head), (tail, len(data))), tail - head
