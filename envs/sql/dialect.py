"""Other dialects' SQL as DuckDB's. sqlglot does the translating; what it leaves is mended here."""

import re

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from envs.sql.guard import check_bounds
from envs.sql.lacking import lacking_as_there
from envs.sql.manifest import Manifest
from envs.sql.moments import moments_as_there
from envs.sql.refusal import Unparsable
from envs.sql.templates import WRITING_BY_TEMPLATE, templates_as_there
from envs.sql.weekdays import counts_days, weekdays_as_there

KNOWN = frozenset(
    """
    mysql sqlite postgres snowflake bigquery tsql redshift oracle spark databricks hive presto trino athena clickhouse
    teradata
    """.split()  # noqa: SIM905
)
LOOSE_GROUPS = frozenset({"mysql", "sqlite"})
"""Dialects where a column beside aggregates need not be grouped: any row's value is taken."""
ROW_OF_EXTREME = frozenset({"sqlite"})
"""Dialects where such a column beside one `max()` or `min()` is of the row that has it (SQLite's manual, "SELECT": bare
columns in an aggregate query)."""
LOOSE_NUMERALS = frozenset({"mysql"})
"""Dialects where text is read as a number wherever it meets one (`envs.sql.numerals`). SQLite's rules hang on declared
types, which no loaded database keeps."""

LOOSE_QUOTES = frozenset({"sqlite"})
"""Dialects where a name in double quotes that nothing has is a text."""
LOOSE_MOMENTS = frozenset({"sqlite"})
"""Dialects with date functions that sqlglot does not know (`envs.sql.moments`)."""
CUTTING_CASTS = frozenset({"sqlite"})
"""Dialects where a cast to an integer, which has 64 bits, cuts a fraction off; DuckDB rounds."""
JOINING_PLUS = frozenset({"tsql"})
"""Dialects where + joins texts."""
FOLDING_LIKE = frozenset({"mysql", "sqlite"})
FOLDING_REGEXES = frozenset({"mysql"})
CUTTING_TEXTS = frozenset({"mysql", "postgres", "redshift", "tsql", "oracle", "presto", "trino", "athena", "teradata"})
"""Dialects where a cast to VARCHAR(7) leaves seven letters; DuckDB passes over the length."""
_TEXT_OF_LENGTH = re.compile(r"\bN?(VAR)?CHAR(ACTER)?2?(\s+VARYING)?\s*\(\s*\d", re.IGNORECASE)


def translate(sql: str, dialect: str) -> str:
    """The statements of `sql` in DuckDB's dialect. Raises `Unparsable`, and `Refused` beyond the guard's bounds."""
    check_bounds(sql, dialect)
    try:
        trees = [tree for tree in sqlglot.parse(sql, read=dialect) if tree is not None]
        if dialect in LOOSE_MOMENTS:
            trees = [moments_as_there(tree) for tree in trees]
        if dialect in WRITING_BY_TEMPLATE:
            trees = [templates_as_there(tree, dialect) for tree in trees]
        trees = [lacking_as_there(weekdays_as_there(tree, dialect)) for tree in trees]
        for tree in trees:
            _finish(tree)
            if dialect in FOLDING_REGEXES:
                _fold_regexes(tree)
            if dialect in CUTTING_CASTS:
                _cut_casts(tree)
            if dialect in CUTTING_TEXTS:
                _cut_texts(tree)
        return "; ".join(tree.sql(dialect="duckdb") for tree in trees)
    except (SqlglotError, RecursionError, ValueError) as e:
        raise Unparsable(f"this cannot be read as {dialect} SQL: {str(e).splitlines()[0]}") from e


def means_another_value(sql: str, dialect: str) -> bool:
    """Whether DuckDB would run it as well, and give another value: it passes over the length of a text, and counts
    days from elsewhere."""
    if '"' in sql and dialect == "mysql":  # what stands there is a name to DuckDB, and a text to MySQL
        return False
    return counts_days(sql, dialect) or (dialect in CUTTING_TEXTS and _TEXT_OF_LENGTH.search(sql) is not None)


def _finish(tree: exp.Expr) -> None:
    """What sqlglot writes as DuckDB does not read it: WITH ROLLUP, APPLY, TEXT(MAX), TIME(x), texts within JSON."""
    for group in tree.find_all(exp.Group):
        for name, kind in (("rollup", exp.Rollup), ("cube", exp.Cube)):
            if any(not part.expressions for part in group.args.get(name) or ()):
                group.set(name, [kind(expressions=group.expressions)])
                group.set("expressions", None)
    for join in tree.find_all(exp.Join):
        applied = join.this.args.get("cross_apply") if isinstance(join.this, exp.Lateral) else None
        if applied is not None:  # CROSS APPLY where it is true, OUTER APPLY where it is not
            join.this.set("cross_apply", None)
            join.set("side", None if applied else "LEFT")
            join.set("on", exp.true())
    for cast in tree.find_all(exp.Cast):
        # A text within JSON that is taken as a text (`m:a::string`) is without JSON's quotes.
        if isinstance(cast.this, exp.JSONExtract) and cast.this.args.get("variant_extract") and cast.is_type("TEXT"):
            cast.this.replace(exp.JSONExtractScalar(this=cast.this.this, expression=cast.this.expression))
    for time in list(tree.find_all(exp.Time)):
        if time.this is not None and not time.args.get("zone"):
            time.replace(exp.cast(exp.cast(time.this, "TIMESTAMP"), "TIME"))
    for param in list(tree.find_all(exp.DataTypeParam)):
        if param.name.upper() == "MAX":
            param.pop()


def _fold_regexes(tree: exp.Expr) -> None:
    for matched in tree.find_all(exp.RegexpLike):
        if not matched.args.get("flag"):
            matched.set("flag", exp.Literal.string("i"))


def _cut_casts(tree: exp.Expr) -> None:
    for cast in reversed(list(tree.find_all(exp.Cast))):  # the inner one first, of which the outer takes a copy
        if cast.is_type(*exp.DataType.INTEGER_TYPES):
            cast.set("this", exp.func("trunc", exp.cast(cast.this, exp.DataType.Type.DOUBLE)))
            cast.set("to", exp.DataType.build("BIGINT"))


def _cut_texts(tree: exp.Expr) -> None:
    for cast in reversed(list(tree.find_all(exp.Cast, exp.Convert))):
        kind = cast.this if isinstance(cast, exp.Convert) else cast.args["to"]
        length = (
            next((param.this for param in kind.expressions), None) if kind.is_type(*exp.DataType.TEXT_TYPES) else None
        )
        if isinstance(length, exp.Literal):
            cast.replace(exp.Left(this=cast.copy(), expression=length.copy()))


def loosen_groups(sql: str, row_of_extreme: bool = False) -> str:
    """DuckDB's query with `any_value()` around each column that is neither grouped nor aggregated.

    MySQL (without ONLY_FULL_GROUP_BY, and with it where a key decides the column) and SQLite take such queries.
    `row_of_extreme`: as in `ROW_OF_EXTREME`.
    """
    tree = sqlglot.parse_one(sql, dialect="duckdb")
    for select in list(tree.find_all(exp.Select)):
        if select.args.get("group") or any(_aggregate_in(p, select) for p in select.expressions):
            _loosen(select, _one_extreme(select) if row_of_extreme else None)
    return tree.sql(dialect="duckdb")


def _one_extreme(select: exp.Select) -> exp.Expr | None:
    """The query's one maximum or minimum; None where it has none, several, or one of distinct or filtered values."""
    found = {_key(e): e for e in select.find_all(exp.Max, exp.Min) if e.find_ancestor(exp.Select) is select}
    if len(found) != 1:
        return None
    extreme = next(iter(found.values()))
    plain = not isinstance(extreme.parent, (exp.Filter, exp.Window)) and not extreme.expressions
    return extreme if plain and not isinstance(extreme.this, exp.Distinct) else None


def texts_in_double_quotes(sql: str, manifest: Manifest) -> str:
    """DuckDB's query with `"US"` as a text where nothing has that name, as SQLite takes it."""
    tree = sqlglot.parse_one(sql, dialect="duckdb")
    known = {column.name.casefold() for relation in manifest.relations for column in relation.columns}
    known |= {name.name.casefold() for name in tree.find_all(exp.Identifier) if not isinstance(name.parent, exp.Column)}
    for column in list(tree.find_all(exp.Column)):
        quoted = isinstance(column.this, exp.Identifier) and column.this.quoted and not column.table
        # On its own in a list it is sooner a column misspelt, of which it is better to be told.
        alone = isinstance(column.parent, (exp.Select, exp.Alias, exp.Ordered, exp.Group))
        if quoted and not alone and column.name.casefold() not in known:
            column.replace(exp.Literal.string(column.name))
    return tree.sql(dialect="duckdb")


def like_as_there(tree: exp.Expr, dialect: str | None) -> str | None:
    """The query with LIKE as ILIKE, as MySQL and SQLite compare; None where there is nothing to change."""
    if dialect not in FOLDING_LIKE or tree.find(exp.Like) is None:
        return None
    changed = tree.transform(lambda node: exp.ILike(**node.args) if type(node) is exp.Like else node)
    return str(changed.sql(dialect="duckdb"))


def _loosen(select: exp.Select, extreme: exp.Expr | None) -> None:
    group = select.args.get("group")
    if group is not None and group.args.get("all"):
        return
    grouped = {_key(e) for e in group.expressions} if group is not None else set()
    grouped |= {
        e.name.casefold() for e in (group.expressions if group is not None else ()) if isinstance(e, exp.Column)
    }
    positions = {int(e.name) for e in (group.expressions if group is not None else ()) if _is_position(e)}
    called = {e.name.casefold() for e in (group.expressions if group is not None else ()) if _is_bare_name(e)}
    aliases = {p.alias.casefold() for p in select.expressions if p.alias}
    for number, projection in enumerate(select.expressions, 1):
        if number in positions or _key(projection.unalias()) in grouped or projection.alias.casefold() in called:
            continue
        name = projection.output_name if isinstance(projection, exp.Column) else ""
        changed = _wrap(projection, select, grouped, extreme)
        if name and changed is not projection:
            projection.replace(exp.alias_(changed, name, quoted=True))
    for part in ("having", "order"):
        clause = select.args.get(part)
        for column in list(clause.find_all(exp.Column)) if clause is not None else ():
            if column.table or column.name.casefold() not in aliases:
                _wrap(column, select, grouped, extreme, replace=True)


def _wrap(
    node: exp.Expr, select: exp.Select, grouped: set[str], extreme: exp.Expr | None, replace: bool = False
) -> exp.Expr:
    """Wrap the bare columns under `node`; a node that is itself such a column is returned wrapped."""
    if isinstance(node, exp.Column) and not replace:
        return _one_value(node, extreme) if _is_bare(node, select, grouped) else node
    for column in list(node.find_all(exp.Column)):
        if _is_bare(column, select, grouped):
            column.replace(_one_value(column, extreme))
    return node


def _one_value(column: exp.Expr, extreme: exp.Expr | None) -> exp.Expr:
    if extreme is None:
        return exp.AnyValue(this=column.copy())
    name = "arg_max_null" if isinstance(extreme, exp.Max) else "arg_min_null"
    return exp.func(name, column.copy(), extreme.this.copy())


def _is_bare_name(node: exp.Expr) -> bool:
    return isinstance(node, exp.Column) and not node.table


def _is_bare(column: exp.Column, select: exp.Select, grouped: set[str]) -> bool:
    if column.name.casefold() in grouped or _key(column) in grouped:
        return False
    if column.find_ancestor(exp.AggFunc, exp.Window, exp.Select) is not select:
        return False
    return not isinstance(column.this, exp.Star)


def _aggregate_in(projection: exp.Expr, select: exp.Select) -> bool:
    return any(
        found.find_ancestor(exp.Select) is select and not isinstance(found.parent, exp.Window)
        for found in projection.find_all(exp.AggFunc)
    )


def _is_position(node: exp.Expr) -> bool:
    return isinstance(node, exp.Literal) and not node.is_string and node.name.isdigit()


def _key(node: exp.Expr) -> str:
    return str(node.sql(dialect="duckdb")).casefold()
