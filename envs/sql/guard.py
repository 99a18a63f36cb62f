"""Layer one: which statements may run at all, decided on the text alone.

A statement passes when it is short and shallow enough to parse, is exactly one query, is made of allowed nodes,
names known relations only, calls allowed functions only, and DuckDB's own parser reads it the same way. What
cannot be parsed is refused. The guard knows names, not contents: it needs a manifest and no open database.
"""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.scope import Scope, traverse_scope
from sqlglot.tokenizer_core import Token, TokenType

from envs.sql.ducktree import duck_tree
from envs.sql.functions import TABLE_FUNCTIONS, allowed_classes, allowed_functions
from envs.sql.lineage import settle_ctes, tables_in
from envs.sql.manifest import Manifest, near
from envs.sql.metadata import drop_home, name_home, replace_catalog
from envs.sql.nodes import NODES, READABLE, WRITES
from envs.sql.refusal import Refused, UnknownTable, Unparsable

MAX_LENGTH = 20_000
MAX_DEPTH = 60
MAX_TOKENS = 8_000
SAMPLE_SEED = 42
_OPEN = {TokenType.L_PAREN, TokenType.L_BRACKET, TokenType.L_BRACE, TokenType.CASE}
_CLOSE = {TokenType.R_PAREN, TokenType.R_BRACKET, TokenType.R_BRACE, TokenType.END}
_CHANCY = {exp.Rand, exp.Uuid}
_CHANCY_NAMES = {"random", "uuid", "gen_random_uuid", "uuidv4", "uuidv7"}
"""As sqlglot leaves them where a schema stands before them, or where it does not know them."""
_PIVOTS = {TokenType.PIVOT, TokenType.UNPIVOT}
_ORDERS = {TokenType.ORDER_BY, TokenType.LIMIT, TokenType.OFFSET}
_RUNS = {TokenType.NOT, TokenType.DASH, TokenType.PLUS, TokenType.TILDE}
"""Prefix operators: a run of them nests as brackets do."""
_WAYS_TO_ASK = "What there is, list_tables and describe_table tell, and so do SHOW TABLES and DESCRIBE <table>."


@dataclass(frozen=True)
class Checked:
    """A query that may run."""

    sql: str
    """What to run: the statement itself, or its rewriting where it named this database or the catalog."""
    tree: exp.Expr
    """sqlglot's reading of `sql`, with catalog tables already replaced."""
    reads: tuple[str, ...]
    """The base tables that its result depends on (`envs.sql.lineage`)."""
    catalog: bool = False
    """Whether it asks for the catalog (`sqlite_master`, `information_schema`)."""
    chancy: bool = False
    """Whether it asks for random values."""


class Guard:
    """The border of one database version."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._known = {relation.name.casefold() for relation in manifest.relations}
        self._chancy = any(name in view.sql.casefold() for view in manifest.views for name in _CHANCY_NAMES)
        self.check = lru_cache(maxsize=256)(self._check)
        """(sql) -> Checked. Raises `Refused`, `UnknownTable` or `Unparsable`; each says what is wrong in words for the
        agent. Passed statements are remembered: agents repeat themselves, and an answer was mostly tried before."""

    def _check(self, sql: str) -> Checked:
        try:
            tree = parse(sql)
        except Unparsable:
            if (bracketed := pivot_in_brackets(sql)) is None:
                raise
            return self._check(bracketed)
        if isinstance(tree, (exp.Pivot, exp.Values)):
            # A PIVOT or VALUES statement on its own; as a FROM item it has scopes like everything else.
            tree = exp.select("*").from_(exp.Subquery(this=tree))
        if not isinstance(tree, exp.Query):
            raise _not_a_query(tree)
        settle_ctes(tree)
        catalog = replace_catalog(tree, self._manifest)
        named = "current_database" in sql.lower() and name_home(tree, self._manifest)
        rewritten = any([drop_home(tree, self._manifest), steady_samples(tree), catalog, named])
        kinds = self._check_nodes(tree)
        scopes = traverse_scope(tree)
        self._check_tables(tree, scopes)
        text = tree.sql(dialect="duckdb") if rewritten else _one_statement(sql)
        self._check_duckdb(text)
        reads = tables_in(scopes, self._manifest)
        return Checked(
            sql=text, tree=tree, reads=reads, catalog=catalog, chancy=self._chancy or not kinds.isdisjoint(_CHANCY)
        )

    def _check_nodes(self, tree: exp.Expr) -> set[type]:
        """The kinds of nodes that there are."""
        functions, classes = allowed_functions(), allowed_classes()
        kinds = set[type]()
        for node in tree.walk():
            kind = type(node)
            kinds.add(kind)
            if isinstance(node, (exp.Anonymous, exp.AnonymousAggFunc)):
                name = node.name.lower()
                if name in _CHANCY_NAMES:
                    kinds.add(exp.Uuid)
                if name not in functions and name not in TABLE_FUNCTIONS:
                    raise Refused(_no_function(node.name))
            elif isinstance(node, exp.Func):
                if kind not in classes:
                    raise Refused(_no_function(node.sql_name()))
            elif kind not in NODES:
                raise _not_allowed(kind.__name__)
            elif kind is exp.Select and node.args.get("into"):
                raise _not_allowed("Into")
        return kinds

    def _check_tables(self, tree: exp.Expr, scopes: Iterable[Scope]) -> None:
        ctes = cte_references(scopes)
        for table in tree.find_all(exp.Table):
            if id(table) in ctes:
                continue
            if isinstance(table.this, exp.Func):
                name = table.this.name if isinstance(table.this, exp.Anonymous) else table.this.sql_name()
                if name.lower() not in TABLE_FUNCTIONS:
                    raise Refused(_no_function(name))
                continue
            if isinstance(table.this, exp.Identifier):
                self._check_relation(table.name, table.db, table.catalog)
            elif not isinstance(table.this, exp.Query):
                raise Refused(f"{table.sql(dialect='duckdb')!r} is not a table of this database")

    def _check_relation(self, name: str, schema: str, catalog: str) -> None:
        at_home = schema.casefold() in ("", "main") and catalog == ""
        if not at_home or name.casefold() not in self._known:
            raise unknown_table(".".join(part for part in (catalog, schema, name) if part), self._manifest)

    def _check_duckdb(self, sql: str) -> None:
        tree = duck_tree(sql)
        if tree is None:
            return
        for catalog, schema, name in sorted(tree.tables):
            if not (name in tree.ctes and not schema):
                self._check_relation(name, schema, catalog)
        functions = allowed_functions()
        for _, name in sorted(tree.functions):
            if name[:1].isalpha() and name not in functions and name not in TABLE_FUNCTIONS:
                raise Refused(_no_function(name))
        for _, name in sorted(tree.table_functions):
            if name not in TABLE_FUNCTIONS:
                raise Refused(_no_function(name))


def parse(sql: str, dialect: str = "duckdb") -> exp.Expr:
    """The one statement in `sql`. Bounds come before parsing: deep nesting can crash a compiled parser."""
    reader = Dialect.get_or_raise(dialect)
    tokens = check_bounds(sql, dialect)
    try:
        statements = [tree for tree in reader.parser().parse(tokens, sql) if tree is not None]
    except (SqlglotError, RecursionError, ValueError) as e:
        raise Unparsable(f"this cannot be read as SQL: {_first_line(e)}") from e
    statements = [tree for tree in statements if not isinstance(tree, exp.Semicolon)]
    if not statements:
        raise Refused("there is no statement here")
    if len(statements) > 1:
        raise Refused(f"one statement at a time: this holds {len(statements)}")
    tree: exp.Expr = statements[0]
    return tree


def pivot_in_brackets(sql: str) -> str | None:
    """With the first PIVOT or UNPIVOT statement that is ordered or limited, which sqlglot does not read, as the query
    `SELECT * FROM (PIVOT ...) ORDER BY ...`, which it does. None where there is none. Raises as `check_bounds` does."""
    begun: list[int | None] = [None]
    """For each open bracket, where a PIVOT within it begins."""
    for token in check_bounds(sql):
        kind, start = token.token_type, begun[-1]
        if kind in _OPEN:
            begun.append(None)
        elif kind in _CLOSE and len(begun) > 1:
            begun.pop()
        elif kind in _PIVOTS:
            begun[-1] = token.start
        elif kind in _ORDERS and start is not None:
            return f"{sql[:start]}SELECT * FROM (\n{sql[start : token.start]}\n) {sql[token.start :]}"
    return None


def check_bounds(sql: str, dialect: str = "duckdb") -> list[Token]:
    """The statement's tokens. Raises `Refused` for what is too long or too deep to parse, and `Unparsable`."""
    if len(sql) > MAX_LENGTH:
        raise Refused(f"a statement may have at most {MAX_LENGTH:,} characters; this one has {len(sql):,}")
    if "\0" in sql:
        raise Refused("a statement may not hold a NUL character")
    try:
        tokens: list[Token] = Dialect.get_or_raise(dialect).tokenize(sql)
    except SqlglotError as e:
        raise Unparsable(f"this cannot be read as SQL: {_first_line(e)}") from e
    if len(tokens) > MAX_TOKENS:
        raise Refused(f"a statement may have at most {MAX_TOKENS:,} words and signs; this one has {len(tokens):,}")
    if _depth(token.token_type for token in tokens) > MAX_DEPTH:
        raise Refused(f"brackets, CASEs or signs nest more than {MAX_DEPTH} deep")
    return tokens


def _depth(kinds: Iterable[TokenType]) -> int:
    depth = deepest = run = 0
    for kind in kinds:
        run = run + 1 if kind in _RUNS else 0
        if kind in _OPEN:
            depth += 1
        elif kind in _CLOSE:
            depth = max(0, depth - 1)
        deepest = max(deepest, depth + run)
    return deepest


def cte_references(scopes: Iterable[Scope]) -> set[int]:
    """Ids of the `Table` nodes that name a CTE in scope; every other one names a relation of the database."""
    found = set()
    for scope in scopes:
        for table in scope.tables:
            if not table.db and isinstance(scope.sources.get(table.name), Scope) and _is_cte(scope, table.name):
                found.add(id(table))
    return found


def steady_samples(tree: exp.Expr) -> bool:
    """Give each sample without a seed one, so that the same query shows the same rows; whether there was any."""
    samples = [sample for sample in tree.find_all(exp.TableSample) if not sample.args.get("seed")]
    for sample in samples:
        sample.set("seed", exp.Literal.number(SAMPLE_SEED))
    return bool(samples)


def _is_cte(scope: Scope, name: str) -> bool:
    return name in scope.cte_sources


def unknown_table(name: str, manifest: Manifest) -> UnknownTable:
    names = [relation.name for relation in manifest.relations]
    close = near(name.rsplit(".", 1)[-1], names)
    hint = f" Near names: {', '.join(close)}." if close else ""
    listed = ", ".join(names[:40]) + (f" and {len(names) - 40} more" if len(names) > 40 else "")
    return UnknownTable(
        name, f"there is no table {name!r} in the database {manifest.database}.{hint} Tables: {listed}."
    )


def _not_a_query(tree: exp.Expr) -> Refused:
    if isinstance(tree, exp.Command):
        refused = _not_allowed(str(tree.this).upper(), command=True)
    else:
        refused = _not_allowed(type(tree).__name__)
    telling = isinstance(tree, (exp.Command, exp.Show, exp.Describe, exp.Pragma))
    return Refused(f"{refused} {_WAYS_TO_ASK}") if telling else refused


def _not_allowed(kind: str, command: bool = False) -> Refused:
    what = kind if command else READABLE.get(kind, kind.upper())
    if kind in WRITES:
        return Refused(f"{what} is refused: the database is read-only, and only queries (SELECT, WITH ...) are run.")
    verb = "are" if what == "query parameters" else "is"
    return Refused(f"{what} {verb} refused: only queries (SELECT, WITH, VALUES, FROM ...) over this database are run.")


def _no_function(name: str) -> str:
    name = name.lower()
    close = difflib.get_close_matches(name, sorted(allowed_functions()), cutoff=0.75)
    hint = f" Near names: {', '.join(close)}." if close else ""
    return f"the function {name!r} is unknown or not allowed here.{hint}"


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _one_statement(sql: str) -> str:
    return sql.strip().rstrip(";").strip() or sql
