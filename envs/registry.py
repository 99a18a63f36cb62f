"""Which environments there are: entry points in the group `trajc.environments`, ours among them.

An entry point names a callable `(Site) -> Environment`.
"""

from collections.abc import Callable
from functools import cache
from importlib.metadata import entry_points

from envs.environment import Environment, Site
from envs.errors import TaskError

Factory = Callable[[Site], Environment]


@cache
def factories() -> dict[str, Factory]:
    """Every registered environment by name."""
    return {e.name: e.load() for e in entry_points(group="trajc.environments")}


def create(name: str, site: Site) -> Environment:
    """Raises `TaskError` naming the known environments."""
    known = factories()
    if name not in known:
        raise TaskError(f"unknown environment {name!r}; known: {', '.join(sorted(known))}")
    return known[name](site)
