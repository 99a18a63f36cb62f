"""What an operator sets for one environment: a mapping (`Site.settings`) parsed into that environment's own model."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from envs.errors import TaskError
from envs.frozen import Frozen

Settings = TypeVar("Settings", bound=Frozen)


def read_settings(model: type[Settings], given: Mapping[str, Any], environment: str) -> Settings:
    """Raises `TaskError` naming each wrong or unknown setting and the known ones, never a value."""
    try:
        return model.model_validate(dict(given))
    except ValidationError as e:
        faults = "; ".join(f"{'.'.join(map(str, f['loc'])) or 'all'}: {f['msg']}" for f in e.errors())
        known = ", ".join(model.model_fields)
        raise TaskError(f"settings of the {environment} environment: {faults}; known: {known}") from None
