"""Which files a shell command reads, by its words: a reader of what agents write, not a shell.

It claims; `looked.py` checks each claim against what the command really showed.
"""

import re
import shlex
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from posixpath import normpath

HEREDOC = re.compile(r"<<-?[ \t]*(['\"]?)(\w+)\1")
PATH = re.compile(r"[\w@%+./-]+")
OPERATORS = frozenset((";", "&", "&&", "||", "|", "|&", "(", ")", "\n", ";;", "{", "}", "do", "done", "then", "fi"))
PREFIXES = frozenset(("sudo", "time", "env", "command", "builtin", "nice", "timeout", "exec", "xargs", "then", "else"))
WHOLE = frozenset(("cat", "nl", "tac", "less", "more", "bat", "view"))
SOME = frozenset(
    (
        *("grep", "egrep", "fgrep", "rg", "ag", "awk", "gawk", "cut", "sort", "uniq", "diff", "ack", "python"),
        *("python3", "perl", "git", "fold", "paste", "column", "jq", "strings"),
    )
)
LISTERS = frozenset(("ls", "find", "tree", "fd", "du"))
NUMBER = r"\d{1,9}"
"""No file has more lines; one of thousands of digits is none that Python would read."""
LONGEST_PATH = 4096
MOST_PLACES = 64
MOST_CLAIMS = 2000
"""What a command of more words than anybody writes may cost; its files are still found by their names."""
Lines = tuple[int, int]
"""First and last line, from 1; a negative first counts from the end, and last -1 is the end."""


@dataclass(frozen=True)
class Claim:
    """A word that names what was read, with the directory it was read in; `lines` None means any part of it."""

    word: str
    directory: str
    lines: Lines | None
    whole: bool


@dataclass(frozen=True)
class Reading:
    claims: tuple[Claim, ...]
    lists: bool
    """Whether something listed a folder."""
    directory: str
    """Where the command's own `cd`s lead to."""
    words: frozenset[str] = frozenset()
    """Whatever in the command may be a path: a program that it runs may open it."""
    directories: tuple[str, ...] = ()
    """Where the command goes, from where it starts."""


def reading(command: str, directory: str) -> Reading:
    claims: list[Claim] = []
    lists = False
    loops: dict[str, list[str]] = {}
    directories = [directory]
    for pipeline in _pipelines(command):
        first = pipeline[0]
        if first[:1] in (["cd"], ["pushd"]) and len(first) > 1:
            there = normpath(_joined(directory, first[1]))
            directory = there if len(there) <= LONGEST_PATH else directory
            if len(directories) < MOST_PLACES:
                directories.append(directory)
            continue
        if first[:1] == ["for"] and len(first) > 3 and first[2] == "in":
            loops[first[1]] = first[3:]
            continue
        stages = [_expanded(stage, loops if len(claims) < MOST_CLAIMS else {}) for stage in pipeline]
        if any(_name(stage) in LISTERS for stage in stages) or stages[0][:2] == ["git", "ls-files"]:
            lists = True
        claims += _claims(stages, directory)[: MOST_CLAIMS - len(claims)]
    words = frozenset(word.rstrip(".") for word in PATH.findall(command))
    return Reading(tuple(claims), lists, directory, words, tuple(dict.fromkeys(directories)))


def _joined(directory: str, word: str) -> str:
    return word if word.startswith("/") else f"{directory.rstrip('/')}/{word}"


def _pipelines(command: str) -> Iterator[list[list[str]]]:
    """Simple commands joined by pipes, as words; what writes its output to a file is left out."""
    text = "".join(_without_heredocs(command)).replace("\\\n", " ").replace("`", " ; ")
    pipeline: list[list[str]] = [[]]
    for word in [*_words(text), ";"]:
        if word in ("|", "|&"):
            pipeline.append([])
        elif word in OPERATORS:
            stages = [stage for stage in map(_unredirected, pipeline) if stage]
            if stages and not any(_writes(stage) for stage in pipeline):
                yield stages
            pipeline = [[]]
        else:
            pipeline[-1].append(word)


def _without_heredocs(command: str) -> Iterator[str]:
    ends: dict[str, list[tuple[int, int]]] = {}
    at = 0
    for line in command.split("\n"):
        ends.setdefault(line.strip(), []).append((at, at + len(line)))
        at += len(line) + 1
    at = 0
    while match := HEREDOC.search(command, at):
        places = ends.get(match[2], [])
        i = bisect_left(places, (match.end(), 0))
        yield command[at : match.start() if i < len(places) else match.end()]
        at = places[i][1] if i < len(places) else match.end()
    yield command[at:]


def _words(text: str) -> list[str]:
    lexer = shlex.shlex(text, posix=True, punctuation_chars=";&|()<>\n")
    lexer.whitespace = " \t\r"
    lexer.whitespace_split = True
    lexer.commenters = ""
    try:
        found = list(lexer)
    except ValueError:
        found = re.findall(r"[;&|()<>\n]+|[^\s;&|()<>\"'`]+", text)
    return ["\n" if w and not w.strip("\n") else w for w in found]


def _writes(stage: list[str]) -> bool:
    """Whether standard output goes to a file: `> f`, `>> f`, `&> f`; not `2> f`."""
    for before, word, after in zip(["", *stage], stage, [*stage[1:], ""], strict=False):
        if word in (">", ">>", "&>", ">|") and before != "2" and after != "/dev/stdout":
            return True
    return False


def _unredirected(stage: list[str]) -> list[str]:
    out: list[str] = []
    skip = False
    for i, word in enumerate(stage):
        if skip:
            skip = False
        elif word in (">", ">>", "&>", ">|", ">&", "<<<", "<<"):
            skip = True
            if out and out[-1] in ("1", "2"):
                out.pop()
        elif word == "<":
            continue
        elif not (i == len(out) == 0 and word in PREFIXES):
            out.append(word)
    while out and (out[0] in PREFIXES or re.fullmatch(r"\w+=.*|-\w+|\d+[smh]?", out[0])):
        out.pop(0)
    return out


def _expanded(stage: list[str], loops: dict[str, list[str]]) -> list[str]:
    """A loop's variable stands for what it goes through, once."""
    out: list[str] = []
    loops = dict(loops)
    for word in stage:
        match = re.fullmatch(r"\$\{?(\w+)\}?", word)
        out += loops.pop(match[1], [word]) if match else [word]
    return out


def _name(stage: list[str]) -> str:
    return stage[0].rpartition("/")[2] if stage else ""


def _claims(stages: list[list[str]], directory: str) -> list[Claim]:
    """The first stage reads files; what follows narrows what is shown of them."""
    words, lines, whole = _read(stages[0])
    for stage in stages[1:]:
        name = _name(stage)
        if name in ("head", "tail", "sed"):
            _, narrowed, _ = _read(stage)
            lines = narrowed if lines is None or whole else lines
            whole = False
        elif name not in WHOLE:
            lines, whole = None, False
    return [Claim(word, directory, lines, whole) for word in words]


def _read(stage: list[str]) -> tuple[list[str], Lines | None, bool]:
    name, rest = _name(stage), stage[1:]
    words = [w for w in rest if not w.startswith("-")]
    if name in WHOLE:
        return words, None, True
    if name in ("head", "tail"):
        return _ends(name, rest)
    if name == "sed":
        return _sed(rest)
    if name in SOME:
        return [w.removeprefix("HEAD:") for w in words], None, False
    return [], None, False


def _ends(name: str, rest: list[str]) -> tuple[list[str], Lines | None, bool]:
    lines: Lines | None = (1, 10) if name == "head" else (-10, -1)
    words: list[str] = []
    arguments = iter(rest)
    for word in arguments:
        if word in ("-n", "--lines", "-c", "--bytes"):
            value = next(arguments, "")
        elif match := re.fullmatch(r"-(?:n|-lines=)?([+-]?\d+)", word):
            word, value = "-n", match[1]
        elif word.startswith("-"):
            continue
        else:
            words.append(word)
            continue
        lines = _end_lines(name, value) if word in ("-n", "--lines") else None
    return words, lines, False


def _end_lines(name: str, value: str) -> Lines | None:
    if not re.fullmatch(f"[+-]?{NUMBER}", value):
        return None
    count = abs(int(value))
    if name == "head":
        return None if value.startswith("-") else (1, count)
    return (max(1, count), -1) if value.startswith("+") else (-count, -1)


def _sed(rest: list[str]) -> tuple[list[str], Lines | None, bool]:
    quiet = False
    scripts: list[str] = []
    words: list[str] = []
    arguments = iter(rest)
    for word in arguments:
        if word == "-e":
            scripts.append(next(arguments, ""))
        elif word.startswith("-i") or word == "--in-place":
            return [], None, False
        elif word.startswith("-"):
            quiet = quiet or "n" in word
        else:
            words.append(word)
    if not scripts and words:
        scripts.append(words.pop(0))
    ranges = [m for s in scripts for m in re.findall(rf"(?<!\d)({NUMBER})(?:,({NUMBER}|\$))?p", s)]
    if not quiet or not ranges:
        return words, None, not quiet
    firsts = [int(a) for a, _ in ranges]
    lasts = [-1 if b == "$" else int(b or a) for a, b in ranges]
    return words, (min(firsts), -1 if -1 in lasts else max(lasts)), False
