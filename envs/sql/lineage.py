"""Which tables and columns a query read, views and CTEs resolved."""

import string
from collections.abc import Iterable, Iterator, Sequence

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import Scope, build_scope, traverse_scope

from envs.sql.manifest import Manifest, Table, View
from envs.sql.metadata import drop_home

_SMALL = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def tables_read(query: str | exp.Expr, manifest: Manifest, dialect: str = "duckdb") -> tuple[str, ...]:
    """Names of the base tables that the query's result depends on, sorted, in the manifest's own spelling.

    A CTE that nothing refers to is not read; a view stands for the tables behind it. Names that the manifest does
    not know are left out. Raises `sqlglot.errors.ParseError` for what is no SQL.
    """
    tree = sqlglot.parse_one(query, dialect=dialect) if isinstance(query, str) else query.copy()
    settle_ctes(tree)
    return _base_tables(_relations_of(tree), manifest, frozenset())


def tables_in(scopes: Sequence[Scope], manifest: Manifest) -> tuple[str, ...]:
    """As `tables_read`, of a query whose scopes (`traverse_scope`) are known."""
    return _base_tables(_tables_of(scopes), manifest, frozenset())


def columns_read(query: str, manifest: Manifest, dialect: str = "duckdb") -> dict[str, tuple[str, ...]]:
    """Columns of each base table that the query mentions, sorted; `*` counts as all. For PIVOT, COLUMNS(), `* LIKE`,
    struct stars, tables whose columns are given other names and views of VALUES, which cannot be told apart, every
    column of the tables read."""
    tables = tables_read(query, manifest, dialect)
    whole = {name: _all_columns(manifest, name) for name in tables}
    tree = sqlglot.parse_one(query, dialect=dialect)
    if isinstance(tree, exp.Values):
        tree = exp.select("*").from_(exp.Subquery(this=tree))
    if tree.find(exp.Pivot, exp.Columns) or any(map(_hides_names, tree.find_all(exp.Star, exp.Table))):
        return whole
    drop_home(tree, manifest)
    schema = {t.name: {c.name: c.type for c in t.columns} for t in manifest.tables}
    try:
        expanded = _with_views(tree, manifest)
        qualified = qualify(
            expanded, schema=dict[str, object](schema), dialect="duckdb", validate_qualify_columns=False
        )
    except (SqlglotError, RecursionError):
        return whole
    read: dict[str, set[str]] = {name: set() for name in tables}
    root = build_scope(qualified)
    for scope in root.traverse() if root else ():
        for column in [*scope.columns, *scope.table_columns]:
            whole_row = isinstance(column, exp.TableColumn)
            source = scope.sources.get(column.name if whole_row else column.text("table"))
            table = manifest.find(source.name) if isinstance(source, exp.Table) else None
            if isinstance(table, Table) and table.name in read:
                wanted = column.name.casefold()
                read[table.name] |= {c.name for c in table.columns if whole_row or c.name.casefold() == wanted}
    return {name: tuple(sorted(columns)) for name, columns in read.items()}


def settle_ctes(tree: exp.Expr) -> None:
    """Make CTEs such that sqlglot finds them: a PIVOT as a query, and names, whose letter case does not matter to
    DuckDB, in small letters."""
    names = set()
    for cte in tree.find_all(exp.CTE):
        if isinstance(cte.this, exp.Pivot):
            cte.set("this", exp.select("*").from_(exp.Subquery(this=cte.this)))
        alias = cte.args["alias"].this
        names.add(_small(alias.name))
        alias.set("this", _small(alias.name))
    for table in tree.find_all(exp.Table) if names else ():
        if not table.db and isinstance(table.this, exp.Identifier) and _small(table.name) in names:
            table.this.set("this", _small(table.name))


def _small(name: str) -> str:
    """Of ASCII's letters alone: no other letter may come to look like one of them."""
    return name.translate(_SMALL)


def _base_tables(tables: Iterable[exp.Table], manifest: Manifest, inside: frozenset[str]) -> tuple[str, ...]:
    """The base tables of these relations; `inside` are the views that are being looked into."""
    found: set[str] = set()
    for table in tables:
        relation = manifest.find(table.name)
        if isinstance(relation, Table):
            found.add(relation.name)
        elif isinstance(relation, View) and relation.name not in inside:
            behind = sqlglot.parse_one(relation.sql, dialect="duckdb")
            settle_ctes(behind)
            found.update(_base_tables(_relations_of(behind), manifest, inside | {relation.name}))
    return tuple(sorted(found))


def _relations_of(tree: exp.Expr) -> Iterator[exp.Table]:
    """Of a query by its scopes; of a PIVOT or VALUES statement, which has none, all that it names."""
    scopes = traverse_scope(tree)
    return _tables_of(scopes) if scopes else tree.find_all(exp.Table)


def _tables_of(scopes: Sequence[Scope]) -> Iterator[exp.Table]:
    """Tables reached from the outermost query, whose scope is the last: CTEs count where they are referred to."""
    queue, seen = [scopes[-1]], set[int]()
    while queue:
        scope = queue.pop()
        if id(scope) in seen:
            continue
        seen.add(id(scope))
        for table in scope.tables:
            source = scope.cte_sources.get(table.name) if not table.db else None
            if isinstance(source, Scope):
                queue.append(source)
            else:
                yield table
        queue.extend(scope.set_operation_scopes)
        queue.extend(scope.table_scopes)
        queue.extend(scope.subquery_scopes)
    known = {id(table) for scope in scopes for table in scope.tables}
    # Corners that sqlglot gives no scope to (a PIVOT's IN list, say): better one table too many than one too few.
    yield from (table for table in scopes[-1].expression.find_all(exp.Table) if id(table) not in known)


def _all_columns(manifest: Manifest, name: str) -> tuple[str, ...]:
    relation = manifest.find(name)
    return tuple(sorted(c.name for c in relation.columns)) if relation else ()


def _hides_names(node: exp.Expr) -> bool:
    if isinstance(node, exp.Star):
        return isinstance(node.parent, (exp.Like, exp.ILike, exp.Glob, exp.SimilarTo))
    return isinstance(node.this, exp.Identifier) and bool(node.alias_column_names)


def _with_views(tree: exp.Expr, manifest: Manifest) -> exp.Expr:
    """The query with each view's name replaced by its query, views within views too. Raises `SqlglotError` for one
    whose columns cannot be told."""
    views = {view.name.casefold(): view for view in manifest.views}
    for _ in range(len(views) + 1):
        used = [
            table
            for table in tree.find_all(exp.Table)
            if table.name.casefold() in views and table.db.casefold() in ("", "main")
        ]
        if not used:
            break
        for table in used:
            query = sqlglot.parse_one(views[table.name.casefold()].sql, dialect="duckdb")
            if not isinstance(query, exp.Query):
                raise SqlglotError("a view of a PIVOT or VALUES statement")
            table.replace(exp.Subquery(this=query, alias=exp.TableAlias(this=exp.to_identifier(table.alias_or_name))))
    return tree
