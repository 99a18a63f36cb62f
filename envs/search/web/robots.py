"""What a robots.txt says to us (RFC 9309): which paths may be read, and how far apart its site wants requests."""

import re
from dataclasses import dataclass
from urllib.parse import quote

_LINE_END = re.compile(r"\r\n|\r|\n")
_ESCAPED = re.compile(r"%([0-9A-Fa-f]{2})")
_TOKEN = re.compile(r"[A-Za-z_-]*")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


@dataclass(frozen=True)
class Rule:
    allows: bool
    pattern: str
    """Canonical path with `*` for anything, `$` at the end for the end."""

    def covers(self, path: str) -> bool:
        """In time that grows with both lengths only: patterns are written by strangers."""
        whole = self.pattern.endswith("$")
        first, *rest = self.pattern.removesuffix("$").split("*")
        if not path.startswith(first):
            return False
        if not rest:
            return not whole or path == first
        at = len(first)
        for part in rest[:-1] if whole else rest:
            found = path.find(part, at)
            if found < 0:
                return False
            at = found + len(part)
        return not whole or (len(path) - len(rest[-1]) >= at and path.endswith(rest[-1]))


@dataclass(frozen=True)
class RobotRules:
    rules: tuple[Rule, ...] = ()
    delay: float = 0.0
    """Seconds between two requests (`Crawl-delay`, which is no standard and widely meant)."""

    def allow(self, path: str) -> bool:
        """`path` with its query, as a request sends it. The longest pattern decides, of equals the one that allows."""
        canonical = _canonical(path).replace("*", "%2A").replace("$", "%24")
        fitting = [rule for rule in self.rules if rule.covers(canonical)]
        return max(fitting, key=lambda rule: (len(rule.pattern), rule.allows)).allows if fitting else True


def parse_robots(text: str, agent: str) -> RobotRules:
    """The rules of all groups that name the agent, or of all for `*` where none does. Lines that are none are passed
    over."""
    named: list[tuple[str, str]] = []
    for_all: list[tuple[str, str]] = []
    told: set[str] = set()
    is_named = False
    heading = False
    for line in _LINE_END.split(text.removeprefix("\ufeff")):
        key, colon, value = line.partition("#")[0].partition(":")
        key, value = key.strip().lower(), value.strip()
        if not colon:
            continue
        if key == "user-agent":
            told = told if heading else set()
            heading = True
            told.add("*" if value.startswith("*") else _TOKEN.match(value)[0].lower())  # type: ignore[index]
            is_named = is_named or agent in told
        elif key in ("allow", "disallow", "crawl-delay"):
            heading = False
            if agent in told:
                named.append((key, value))
            if "*" in told:
                for_all.append((key, value))
    lines = named if is_named else for_all
    rules = (Rule(key == "allow", _canonical(value)) for key, value in lines if key != "crawl-delay" and value)
    delays = [float(value) for key, value in lines if key == "crawl-delay" and re.fullmatch(r"\d{1,6}(\.\d+)?", value)]
    return RobotRules(tuple(rules), max(delays, default=0.0))


def _canonical(path: str) -> str:
    """One spelling for each path: what needs no escape has none, what needs one has it in upper case."""
    return _ESCAPED.sub(_escape, quote(path, safe="/%?&=*$:@!',;()+[]~#"))


def _escape(found: re.Match[str]) -> str:
    meant = chr(int(found[1], 16))
    return meant if meant in _UNRESERVED else f"%{found[1].upper()}"
