"""Which bugs are tried and in what order: by the seed, one of each operator in turn, spread over the functions."""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

from envs.swe.gitdir import File
from envs.swe.make.mutate import Mutant, mutants
from envs.swe.make.sdist import Package

Bug = tuple[Mutant, ...]
"""What is planted at once for one task."""


def plan(package: Package, seed: int, bugs: int = 1) -> list[Bug]:
    """The bugs in the order to try them: shuffled by the seed, one of each operator in turn, no function twice
    before all had one. Several bugs at once lie in different functions, none inside of another."""
    chance = random.Random(f"{package.name} {package.version} {seed}")
    by_operator: dict[str, list[Mutant]] = {}
    for path in package.sources:
        for mutant in mutants(path, package.files[path].data):
            by_operator.setdefault(mutant.operator, []).append(mutant)
    for group in by_operator.values():
        chance.shuffle(group)
    names = sorted(by_operator)
    chance.shuffle(names)
    turns = [m for turn in _turns([by_operator[name] for name in names]) for m in turn]
    return grouped(spread(turns), bugs)


def spread(order: Sequence[Mutant]) -> list[Mutant]:
    """No function twice before all had one; else in the order given."""
    seen: Counter[tuple[str, str]] = Counter()
    ranked: list[tuple[int, int, Mutant]] = []
    for n, mutant in enumerate(order):
        key = mutant.path, mutant.function
        ranked.append((seen[key], n, mutant))
        seen[key] += 1
    return [mutant for _, _, mutant in sorted(ranked, key=lambda r: r[:2])]


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


def _turns(groups: Sequence[list[Mutant]]) -> Iterator[list[Mutant]]:
    for n in range(max(map(len, groups), default=0)):
        yield [group[n] for group in groups if n < len(group)]
