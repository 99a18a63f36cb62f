"""What every part of a recipe is made from."""

from pydantic import ConfigDict

from envs.frozen import Frozen


class Part(Frozen):
    """Field docstrings become descriptions of the JSON Schema."""

    model_config = ConfigDict(use_attribute_docstrings=True)
