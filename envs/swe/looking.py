"""Which files of the repository a command may have shown, from its words and from what it wrote.

Whoever looks by a path says so in the command or is told so in the output. For who does neither (`find -exec cat`, a
variable, a program that opens files), the files whose whole text stands in the output are found by their longest line.
"""

from collections.abc import Callable, Iterator, Mapping, Set
from posixpath import normpath

from envs.evidence import FULL
from envs.swe.command import Lines, Reading
from envs.swe.looked import NUMBERED, Said, claimed_paths, mentioned, shown_of
from envs.swe.world import TreeFile

FEW = 8
"""Files of one claim that are looked into whether or not the output seems to be theirs."""
LEAST_LINES = 3
LONGEST_LEAST = 8
"""Files of fewer lines, or of shorter ones, are known by their names only."""
KEY_BYTES = 200
Longest = Mapping[bytes, tuple[str, ...]]
Base = Callable[[str], bytes]


def longest_lines(known: Mapping[str, TreeFile], base: Base) -> Longest:
    """Of every text file of the tree the longest line -> the files that have it."""
    found: dict[bytes, tuple[str, ...]] = {}
    for path, entry in known.items():
        lines = {line.strip() for line in base(path).split(b"\n")} - {b""} if entry.mode != "120000" else set()
        longest = max(lines, key=lambda line: (len(line), line), default=b"")
        if len(lines) >= LEAST_LINES and len(longest) >= LONGEST_LEAST and b"\0" not in longest:
            found[longest[:KEY_BYTES]] = (*found.get(longest[:KEY_BYTES], ()), path)
    return found


def perhaps_shown(
    read: Reading,
    said: Said,
    workdir: str,
    known: Mapping[str, TreeFile],
    base: Base,
    longest: Callable[[], Longest],
) -> dict[str, Lines | None]:
    """Path -> the lines to look for, the surest first. `base` gives a known file's bytes, `longest` is asked only
    where it is needed."""
    found: dict[str, Lines | None] = {}
    full = {path for path, entry in known.items() if entry.size}
    places = {*read.directories, read.directory, workdir}
    text = b"\n".join(said.lines)
    named = set[str]().union(*(mentioned(text, full, place, workdir) for place in places))
    before_text = {path for path in named if said.names(path)}
    for claim in read.claims:
        paths = claimed_paths(claim, workdir, known)
        if len(paths) > FEW:
            searched = not claim.whole and claim.lines is None
            found_in = [path for path in paths if path in before_text] if searched else []
            paths = found_in or [path for path in paths if said.shares(base(path))]
        for path in paths:
            if claim.whole or path in full or path not in known:
                found.setdefault(path, claim.lines)
    for path in sorted(_worded(read, places, workdir, full)):
        found.setdefault(path, None)
    for path in sorted(named - found.keys()):
        if path in before_text or ((read.claims or not read.lists) and said.shares(base(path))):
            found[path] = None
    if said.raw.count(b"\n") >= LEAST_LINES - 1:
        for path in _wholes(said, longest(), base):
            found.setdefault(path, None)
    return found


def _worded(read: Reading, places: Set[str], workdir: str, known: Set[str]) -> Set[str]:
    root = normpath(workdir) + "/"
    paths = (normpath(f"{place}/{word}" if word[0] != "/" else word) for word in read.words if word for place in places)
    return {path.removeprefix(root) for path in paths if path.startswith(root)} & known


def _wholes(said: Said, longest: Longest, base: Base) -> Iterator[str]:
    keys: dict[bytes, None] = {}
    for line in said.raw.split(b"\n"):
        match = NUMBERED.match(line)
        keys |= dict.fromkeys(text.strip()[:KEY_BYTES] for text in ((line, match[2]) if match else (line,)))
    paths = [path for key in keys if key in longest for path in longest[key]]
    if paths:
        whole = Said(said.raw, ((0, len(said.raw)),))
        yield from (path for path in paths if shown_of(base(path), whole, None, path) == FULL)
