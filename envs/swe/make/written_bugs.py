"""Bugs that a language model writes: it is shown a function and gives it back with a bug in it.

What it gives is nothing until it was parsed, held against the function, put in its place, and proven by the tests.
"""

import random
import re
from collections.abc import Sequence
from functools import partial
from typing import Protocol

from envs.swe.make.functions import Place, Unfit, places
from envs.swe.make.mutate import Mutant
from envs.swe.make.package import Proposal
from envs.swe.make.plan import Bug
from envs.swe.make.sdist import Package
from envs.swe.make.trial import Dropped

FENCE = re.compile(r"^[ \t]*```[ \t]*(?:python|py)?[ \t]*\n(.*?)^[ \t]*```", re.MULTILINE | re.DOTALL)

PROMPT = """Below is one function of the Python package {package}, from {path}.

```python
{text}```

Write the same function with one subtle bug in it, such as a good programmer makes in a hurry and a reviewer passes \
over: a wrong condition, a case forgotten, a value of the wrong variable, a step in the wrong order. The function must \
still run, keep its name and parameters, and give wrong results in some cases that ordinary tests of the package look \
at. Change as few lines as you can. Add no comment and say nothing about the bug.

Answer with the whole changed function in one ```python block."""


class Writer(Protocol):
    """A language model as far as task making sees it."""

    name: str

    async def write(self, prompt: str, take: int) -> str | None:
        """What it says to a prompt; another `take` asks anew. None where it said nothing whole. Raises `TrajcError`
        where the endpoint fails for good."""
        ...


class WrittenBugs:
    """A `BugSource` over a writer."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def proposals(self, package: Package, seed: int, bugs: int, most: int) -> Sequence[Proposal]:
        """Every function once, in an order of the seed's, before any is asked about again."""
        found = [place for path in package.sources for place in places(path, package.files[path].data)]
        random.Random(f"{package.name} {package.version} {seed}").shuffle(found)
        groups = [found[n : n + bugs] for n in range(0, len(found) - bugs + 1, bugs)]
        takes = -(-most // len(groups)) if groups else 0
        wanted = [(group, take) for take in range(takes) for group in groups][:most]
        return [partial(self._ask, package, group, take) for group, take in wanted]

    async def _ask(self, package: Package, group: Sequence[Place], take: int) -> Bug | Dropped:
        bug = []
        for place in group:
            prompt = PROMPT.format(package=package.name, path=place.path, text=place.text)
            found = read_bug(await self._writer.write(prompt, take), place, package, self._writer.name)
            if isinstance(found, Dropped):
                return found
            bug.append(found)
        return tuple(bug)


def read_bug(reply: str | None, place: Place, package: Package, author: str) -> Mutant | Dropped:
    code = code_of(reply or "")
    if code is None:
        return Dropped("written bug: no code in the reply")
    data = package.files[place.path].data
    try:
        change = place.replaced(data, code)
    except Unfit as e:
        return Dropped(f"written bug: {e}")
    return Mutant(place.path, f"written by {author}", place.line, place.name, change)


def code_of(reply: str) -> str | None:
    """The last fenced block, or the whole reply where it is bare code."""
    blocks = FENCE.findall(reply)
    if blocks:
        return str(blocks[-1])
    bare = reply.strip()
    return bare if re.match(r"(async def|def|@)\b|@", bare) else None
