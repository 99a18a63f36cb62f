"""Functions of a package as a writer of bugs is shown them, and what it writes put back in their place.

Kept to the lines that change: a line that only looks different stays as it was.
"""

import ast
import builtins
import io
import textwrap
import tokenize
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher

from envs.swe.make.source import Change, Source

FEWEST_LINES, MOST_LINES = 4, 120
"""Of a function that is worth asking about."""
MOST_CHANGED = 0.4
"""A larger share of the lines of code is another function, not a bug in this one. Three lines may always change."""

NO_CODE = (SyntaxError, ValueError, RecursionError, MemoryError)
"""What Python's parser makes of texts that are no code, or nested beyond its strength."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Unfit(Exception):
    """A text that is not the function with a bug in it; the words are a reason to be counted."""


@dataclass(frozen=True)
class Place:
    """One function of a file. `text` is its source, decorators included, without the indentation around it."""

    path: str
    name: str
    """Qualified."""
    line: int
    last: int
    text: str
    indent: str

    def replaced(self, data: bytes, reply: str) -> Change:
        """The change of the file that puts `reply` in the function's place. Raises `Unfit`."""
        new = minimal(self.text, checked(self.text, reply))
        source = Source(data)
        begin, end = source.line(self.line), source.line(self.last + 1)
        text = textwrap.indent(new, self.indent)
        tail = "" if source.data[begin:end].endswith(b"\n") else "\n"
        change = Change(begin, end, text if not tail else text.rstrip("\n"))
        after = data[:begin] + change.text.encode() + data[end:]
        if not alike_but_for(data, after, self.name):
            raise Unfit("it touches more than the function")
        if unbound(after) - unbound(data) - set(dir(builtins)):
            raise Unfit("it uses names that nothing binds")
        return change


def places(path: str, data: bytes) -> Iterator[Place]:
    """Functions and methods of the right size, in the file's order; none of a file that does not parse."""
    try:
        tree = ast.parse(data)
    except (SyntaxError, ValueError):
        return
    source = Source(data)
    for name, node in named(tree.body):
        first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
        last = node.end_lineno or node.lineno
        if not FEWEST_LINES <= last - node.body[0].lineno + 1 <= MOST_LINES or name.rpartition(".")[2] == "__repr__":
            continue
        data_lines = source.data[source.line(first) : source.line(last + 1)]
        if b"\r" in data_lines:
            continue
        lines = data_lines.decode("utf-8", "replace")
        text = textwrap.dedent(lines).rstrip("\n") + "\n"
        indent = lines[: len(lines) - len(lines.lstrip())]
        try:
            same = textwrap.indent(text, indent).rstrip() == lines.rstrip() and ast.parse(text)
        except SyntaxError:
            continue
        if same:
            yield Place(path, name, first, last, text, indent)


def named(body: list[ast.stmt], above: str = "") -> Iterator[tuple[str, Function]]:
    """Functions of a module and methods of its classes; those inside of functions belong to them."""
    for node in body:
        if isinstance(node, Function):
            yield f"{above}{node.name}", node
        elif isinstance(node, ast.ClassDef):
            yield from named(node.body, f"{above}{node.name}.")


def checked(text: str, reply: str) -> str:
    """The reply's function, if it is the same one with other statements. Raises `Unfit`."""
    reply = textwrap.dedent(reply.replace("\r\n", "\n")).strip("\n") + "\n"
    if reply.count("\n") > 2 * MOST_LINES:
        raise Unfit("it rewrites the function")
    try:
        new = ast.parse(reply)
        meaning(reply)
    except NO_CODE:
        raise Unfit("it does not parse") from None
    old = ast.parse(text).body[0]
    if len(new.body) != 1 or type(new.body[0]) is not type(old):
        raise Unfit("it is not the one function asked for")
    function = new.body[0]
    assert isinstance(old, Function)
    assert isinstance(function, Function)
    if function.name != old.name or _signature(function) != _signature(old):
        raise Unfit("it is not the one function asked for")
    if meaning(reply) == meaning(text):
        raise Unfit("it changes nothing")
    return reply


def minimal(text: str, reply: str) -> str:
    """The reply with every block of lines taken back that says the same as before. Raises `Unfit` where too much is
    left, or comments that were not there."""
    before, after = text.splitlines(keepends=True), reply.splitlines(keepends=True)
    for kind, a, b, c, d in reversed(SequenceMatcher(None, before, after, autojunk=False).get_opcodes()):
        if kind != "equal":
            trial = [*after[:c], *before[a:b], *after[d:]]
            try:
                if meaning("".join(trial)) == meaning(reply):
                    after = trial
            except NO_CODE:
                continue
    blocks = [o for o in SequenceMatcher(None, before, after, autojunk=False).get_opcodes() if o[0] != "equal"]
    changed = sum(max(b - a, d - c) for _, a, b, c, d in blocks)
    if changed > max(3, MOST_CHANGED * _code_lines(text)) or changed >= _code_lines(text):
        raise Unfit("it rewrites the function")
    if _comments("".join(after)) - _comments(text):
        raise Unfit("it brings comments of its own")
    return "".join(after)


def meaning(text: str) -> str:
    """What a module's code says, without its docstrings."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, Function | ast.ClassDef) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.dump(tree)


def alike_but_for(before: bytes, after: bytes, name: str) -> bool:
    """Whether two versions of a file differ in the function of that name and nowhere else."""
    try:
        return _dump_without(before, name) == _dump_without(after, name)
    except NO_CODE:
        return False


def _dump_without(data: bytes, name: str) -> str:
    tree = ast.parse(data)
    for found, node in named(tree.body):
        if found == name:
            node.body = [ast.Pass()]
    return ast.dump(tree)


def _signature(function: Function) -> tuple[list[str], list[str]]:
    """Names of the parameters in their order, and the decorators; defaults may change."""
    a = function.args
    names = [p.arg for p in (*a.posonlyargs, *a.args, *a.kwonlyargs)]
    stars = [f"*{a.vararg.arg}" if a.vararg else "", f"**{a.kwarg.arg}" if a.kwarg else ""]
    return [*names, *stars], [ast.dump(d) for d in function.decorator_list]


def _code_lines(text: str) -> int:
    """Of the function's body, without its docstring."""
    function = ast.parse(text).body[0]
    assert isinstance(function, Function)
    body = function.body[1:] if ast.get_docstring(function, clean=False) is not None else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def unbound(data: bytes) -> set[str]:
    """Names that a file's code reads and nothing in it binds."""
    nodes = list(ast.walk(ast.parse(data)))
    read = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    bound = {n.id for n in nodes if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)}
    bound |= {n.arg for n in nodes if isinstance(n, ast.arg)}
    bound |= {n.name for n in nodes if isinstance(n, Function | ast.ClassDef)}
    bound |= {n.name or "" for n in nodes if isinstance(n, ast.ExceptHandler)}
    bound |= {(n.asname or n.name).partition(".")[0] for n in nodes if isinstance(n, ast.alias)}
    return read - bound


def _comments(text: str) -> Counter[str]:
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return Counter(t.string for t in tokens if t.type == tokenize.COMMENT)
