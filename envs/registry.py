"""Which environments there are: entry points in the group `trajc.environments`, ours among them.

An entry point names a callable `(Site) -> Environment`.
"""

from collections.abc import Callable
from functools import cache
from importlib.metadata import entry_points

from envs.environment import Environment, Site
from envs.errors import EnvironmentFailure, TaskError, boundary

Factory = Callable[[Site], Environment]


@cache
def names() -> frozenset[str]:
    """Every registered environment. Nothing is imported for it."""
    return frozenset(e.name for e in entry_points(group="trajc.environments"))


def create(name: str, site: Site) -> Environment:
    """Raises `TaskError` naming the known environments, `EnvironmentFailure` for one that cannot be imported or made,
    or that two packages call so."""
    found = entry_points(group="trajc.environments", name=name)
    if not found:
        raise TaskError(f"unknown environment {name!r}; known: {', '.join(sorted(names()))}")
    if len(meant := sorted({e.value for e in found})) > 1:
        raise EnvironmentFailure(f"environment {name!r} could be {' or '.join(meant)}: uninstall all but one package")
    with boundary(EnvironmentFailure, f"environment {name!r} cannot be loaded"):
        factory: Factory = next(iter(found)).load()
        return factory(site)


def scorer_of(environment: Environment) -> str:
    """Names what judges in it, with its version, as the environment's `scorer` does where it has one. What another
    one has judged is judged anew."""
    return str(getattr(environment, "scorer", environment.name))
