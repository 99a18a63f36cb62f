"""Which bugs are tried and in what order: by the seed, one of each operator in turn, spread over the functions."""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise

from envs.swe.gitdir import File
from envs.swe.make.mutate import Mutant, mutants
from envs.swe.make.sdist import Package

Bug = tuple[Mutant, ...]
"""What is planted at once for one task."""


def plan(package: Package, seed: int, bugs: int = 1, most: int | None = None) -> list[Bug]:
    """The bugs in the order to try them, `most` of them or all: shuffled by the seed, no operator twice before all
    had one, and of each the function that had the fewest. Several bugs at once lie in different functions, none inside
    of another."""
    chance = random.Random(f"{package.name} {package.version} {seed}")
    found = [mutant for path in package.sources for mutant in mutants(path, package.files[path].data)]
    chance.shuffle(found)
    wanted = len(found) if most is None else 2 * most * bugs  # some groups cannot be planted together
    return grouped(list(islice(spread(found), wanted)), bugs)[:most]


def spread(found: Sequence[Mutant]) -> Iterator[Mutant]:
    """One of each operator in turn; of an operator's mutants, the first in the function that was chosen least."""
    by_operator: dict[str, list[Mutant]] = {}
    for mutant in found:
        by_operator.setdefault(mutant.operator, []).append(mutant)
    chosen: Counter[tuple[str, str]] = Counter()
    while by_operator:
        for name, left in list(by_operator.items()):
            n = min(range(len(left)), key=lambda n: chosen[left[n].path, left[n].function])
            mutant = left.pop(n)
            chosen[mutant.path, mutant.function] += 1
            yield mutant
            if not left:
                del by_operator[name]


def grouped(order: Sequence[Mutant], bugs: int) -> list[Bug]:
    """Neighbours in groups of `bugs`; groups that cannot be planted together are left out."""
    groups = [tuple(order[n : n + bugs]) for n in range(0, len(order) - bugs + 1, bugs)]
    return [group for group in groups if apart(group)]


def apart(bug: Bug) -> bool:
    if len({(m.path, m.function) for m in bug}) < len(bug):
        return False
    placed = sorted((m.path, m.change.begin, m.change.end) for m in bug)
    return all(a[0] != b[0] or a[2] <= b[1] for a, b in pairwise(placed))


def planted(files: dict[str, File], bug: Bug) -> dict[str, File]:
    """The files with the bugs in them; later places first, so that earlier ones do not move."""
    out = dict(files)
    for mutant in sorted(bug, key=lambda m: -m.change.begin):
        out[mutant.path] = File(mutant.apply(out[mutant.path].data), out[mutant.path].mode)
    return out
