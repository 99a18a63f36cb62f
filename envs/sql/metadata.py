"""Catalog tables that agents ask for by habit (`sqlite_master`, `information_schema`), answered from the manifest.

A reference to one becomes an inline table of what the manifest tells; DuckDB's real catalog, which would tell of
more than the agent may know, is never read.
"""

import re
from collections.abc import Callable
from typing import Any

from sqlglot import exp

from envs.sql.ddl import create_statement
from envs.sql.manifest import ForeignKey, Manifest, Table

Rows = tuple[tuple[str, ...], list[tuple[Any, ...]]]


_SCHEMAS = ("main", "public", "dbo")
_DECIMAL = re.compile(r"DECIMAL\((\d+),\s*(\d+)\)")


def replace_catalog(tree: exp.Expr, manifest: Manifest) -> bool:
    """Put the inline tables in place; whether there was anything to replace."""
    changed = False
    for table in list(tree.find_all(exp.Table)):
        if isinstance(table.this, exp.Anonymous):
            changed |= _replace_call(table, table.this, manifest)
            continue
        maker = _maker(table) if isinstance(table.this, exp.Identifier) else None
        if maker is not None and (table.db or manifest.find(table.name) is None):
            table.replace(_inline(maker(manifest, _schema_asked_for(tree, manifest)), table))
            changed = True
    return changed


def drop_home(tree: exp.Expr, manifest: Manifest) -> bool:
    """Drop this database's own name in front of its tables (`world_1.city`) and of their columns; whether there was
    any."""
    dropped = set()
    for table in tree.find_all(exp.Table):
        if _names_home(table, manifest):
            dropped.add((table.name.casefold(), table.db.casefold(), table.catalog.casefold()))
            table.set("db", None)
            table.set("catalog", None)
    for column in tree.find_all(exp.Column) if dropped else ():
        if (column.table.casefold(), column.text("db").casefold(), column.text("catalog").casefold()) in dropped:
            column.set("db", None)
            column.set("catalog", None)
    return bool(dropped)


def name_home(tree: exp.Expr, manifest: Manifest) -> bool:
    """Put this database's own name for `current_database()`, which would tell the file's; whether there was any."""
    asked = list(tree.find_all(exp.CurrentDatabase))
    for node in asked:
        name: exp.Expr = exp.Literal.string(manifest.database)
        node.replace(
            exp.alias_(name, "current_database()", quoted=True) if isinstance(node.parent, exp.Select) else name
        )
    return bool(asked)


def _schema_asked_for(tree: exp.Expr, manifest: Manifest) -> str:
    """MySQL calls a database's schema by the database's name, PostgreSQL `public`, DuckDB `main`: the one that the
    query compares with, so that its condition holds."""
    texts = {literal.name for literal in tree.find_all(exp.Literal) if literal.is_string}
    return next((name for name in (manifest.database, "public") if name in texts), "main")


def _names_home(table: exp.Table, manifest: Manifest) -> bool:
    home = manifest.database.casefold()
    if table.catalog:
        # BigQuery puts a project before the database, others the database before a schema.
        return table.db.casefold() == home or (table.catalog.casefold() == home and table.db.casefold() in _SCHEMAS)
    return bool(table.db) and table.db.casefold() in (home, "public", "dbo")


def _maker(table: exp.Table) -> Callable[[Manifest, str], Rows] | None:
    name, schema = table.name.casefold(), table.db.casefold()
    if name.startswith("information_schema."):  # BigQuery's views, one name of two parts
        schema, _, name = name.partition(".")
    if schema == "sys":
        return _SYS.get(name)
    if schema == "information_schema":
        return _INFORMATION_SCHEMA.get(name)
    return _BARE.get(name) if schema in ("", "main", "pg_catalog") else None


def _inline(content: Rows, table: exp.Table) -> exp.Expr:
    columns, rows = content
    empty = not rows
    tuples = [tuple(None for _ in columns)] if empty else rows
    alias = table.alias or table.name
    values = exp.values(tuples, alias="listed", columns=list(columns))
    query = exp.select("*").from_(values)
    if empty:
        query = query.where(exp.false())
    return exp.Subquery(this=query, alias=exp.TableAlias(this=exp.to_identifier(alias, quoted=True)))


def _replace_call(table: exp.Table, call: exp.Anonymous, manifest: Manifest) -> bool:
    """SQLite's questions about one table, in the form of a table function; whether it was one."""
    maker = _CALLED.get(call.name.casefold())
    if maker is None or len(call.expressions) != 1:
        return False
    asked = call.expressions[0]
    if isinstance(asked, exp.Column) and not asked.table:
        asked = exp.Literal.string(asked.name)
    alias = table.args.get("alias") or exp.TableAlias(this=exp.to_identifier(call.name))
    columns, rows = maker(manifest)
    of, *told = columns
    # Every table's rows, of which those stay that are asked for: the name may be another table's column.
    values = exp.values(rows or [tuple(None for _ in columns)], alias="listed", columns=list(columns))
    same = exp.EQ(this=exp.func("lower", exp.column(of)), expression=exp.func("lower", asked.copy()))
    shown = exp.select(*(exp.column(name, quoted=True) for name in told)).from_(values).where(same)
    table.replace(exp.Subquery(this=shown, alias=alias.copy()))
    return True


def _table_info(manifest: Manifest) -> Rows:
    rows: list[tuple[Any, ...]] = []
    for relation in manifest.relations:
        keys = relation.primary_key if isinstance(relation, Table) else ()
        for number, column in enumerate(relation.columns):
            key = keys.index(column.name) + 1 if column.name in keys else 0
            rows.append((relation.name, number, column.name, column.type, int(not column.nullable), None, key))
    return ("of_table", "cid", "name", "type", "notnull", "dflt_value", "pk"), rows


def _foreign_key_list(manifest: Manifest) -> Rows:
    rows = [
        (table.name, number, position, key.table, column, other)
        for table in manifest.tables
        for number, key in enumerate(table.foreign_keys)
        for position, (column, other) in enumerate(zip(key.columns, key.refers, strict=False))
    ]
    return ("of_table", "id", "seq", "table", "from", "to"), rows


def _tables(manifest: Manifest, schema: str) -> Rows:
    columns = ("table_catalog", "table_schema", "table_name", "table_type", "table_rows", "table_comment")
    return columns, [
        (manifest.database, schema, r.name, "BASE TABLE", r.rows, None)
        if isinstance(r, Table)
        else (manifest.database, schema, r.name, "VIEW", None, None)
        for r in manifest.relations
    ]


def _columns(manifest: Manifest, schema: str) -> Rows:
    columns = (
        "table_catalog", "table_schema", "table_name", "column_name", "ordinal_position", "is_nullable", "data_type",
        "column_type", "column_key", "column_default", "column_comment", "extra", "character_maximum_length",
        "numeric_precision", "numeric_scale",
    )  # fmt: skip
    rows: list[tuple[Any, ...]] = []
    for relation in manifest.relations:
        keys = relation.primary_key if isinstance(relation, Table) else ()
        for position, column in enumerate(relation.columns, 1):
            nullable, key = "YES" if column.nullable else "NO", "PRI" if column.name in keys else ""
            place = (manifest.database, schema, relation.name, column.name, position)
            digits = _DECIMAL.fullmatch(column.type)
            precision, scale = map(int, digits.groups()) if digits else (None, None)
            rows.append((*place, nullable, column.type, column.type, key, None, None, "", None, precision, scale))
    return columns, rows


def _schemata(manifest: Manifest, schema: str) -> Rows:
    return ("catalog_name", "schema_name"), [(manifest.database, schema)]


def _key_columns(manifest: Manifest, schema: str) -> Rows:
    columns = (
        "table_schema", "table_name", "column_name", "constraint_name",
        "referenced_table_name", "referenced_column_name",
    )  # fmt: skip
    rows: list[tuple[Any, ...]] = []
    for table in manifest.tables:
        rows.extend((schema, table.name, column, "PRIMARY", None, None) for column in table.primary_key)
        for key in table.foreign_keys:
            rows.extend(
                (schema, table.name, column, _key_name(table, key), key.table, other)
                for column, other in zip(key.columns, key.refers, strict=False)
            )
    return columns, rows


def _key_name(table: Table, key: ForeignKey) -> str:
    return "_".join((table.name, *key.columns, "fkey"))


def _table_constraints(manifest: Manifest, schema: str) -> Rows:
    rows: list[tuple[Any, ...]] = []
    for table in manifest.tables:
        if table.primary_key:
            rows.append((schema, "PRIMARY", schema, table.name, "PRIMARY KEY"))
        rows.extend((schema, _key_name(table, key), schema, table.name, "FOREIGN KEY") for key in table.foreign_keys)
    return ("constraint_schema", "constraint_name", "table_schema", "table_name", "constraint_type"), rows


def _constraint_columns(manifest: Manifest, schema: str) -> Rows:
    """What a key stands for: its own columns, or those that it refers to."""
    rows = [(schema, table.name, column, "PRIMARY") for table in manifest.tables for column in table.primary_key]
    rows += [
        (schema, key.table, column, _key_name(table, key))
        for table in manifest.tables
        for key in table.foreign_keys
        for column in key.refers
    ]
    return ("table_schema", "table_name", "column_name", "constraint_name"), rows


def _views(manifest: Manifest, schema: str) -> Rows:
    columns = ("table_catalog", "table_schema", "table_name", "view_definition")
    return columns, [(manifest.database, schema, view.name, view.sql) for view in manifest.views]


def _sqlite_master(manifest: Manifest, schema: str) -> Rows:  # noqa: ARG001
    columns = ("type", "name", "tbl_name", "rootpage", "sql")
    return columns, [
        ("table" if isinstance(r, Table) else "view", r.name, r.name, 0, create_statement(r))
        for r in manifest.relations
    ]


def _pg_tables(manifest: Manifest, schema: str) -> Rows:  # noqa: ARG001
    return ("schemaname", "tablename"), [("public", table.name) for table in manifest.tables]


def _pg_views(manifest: Manifest, schema: str) -> Rows:  # noqa: ARG001
    return ("schemaname", "viewname", "definition"), [("public", view.name, view.sql) for view in manifest.views]


def _pg_table_def(manifest: Manifest, schema: str) -> Rows:  # noqa: ARG001
    columns = ("schemaname", "tablename", "column", "type", "notnull")
    return columns, [("public", r.name, c.name, c.type, not c.nullable) for r in manifest.relations for c in r.columns]


def _sys_tables(manifest: Manifest, schema: str) -> Rows:  # noqa: ARG001
    return ("name", "type_desc"), [(table.name, "USER_TABLE") for table in manifest.tables]


def _sys_views(manifest: Manifest, schema: str) -> Rows:  # noqa: ARG001
    return ("name", "type_desc"), [(view.name, "VIEW") for view in manifest.views]


def _oracle_tables(manifest: Manifest, schema: str) -> Rows:  # noqa: ARG001
    """In capitals, as Oracle keeps names and its users ask for them; DuckDB finds a table by any case."""
    return ("owner", "table_name"), [(manifest.database.upper(), table.name.upper()) for table in manifest.tables]


def _oracle_columns(manifest: Manifest, schema: str) -> Rows:  # noqa: ARG001
    columns = ("owner", "table_name", "column_name", "data_type", "nullable", "column_id")
    return columns, [
        (manifest.database.upper(), r.name.upper(), c.name.upper(), c.type, "Y" if c.nullable else "N", position)
        for r in manifest.relations
        for position, c in enumerate(r.columns, 1)
    ]


def _dual(manifest: Manifest, schema: str) -> Rows:  # noqa: ARG001
    return ("dummy",), [("X",)]


_INFORMATION_SCHEMA = {
    "tables": _tables,
    "columns": _columns,
    "schemata": _schemata,
    "key_column_usage": _key_columns,
    "table_constraints": _table_constraints,
    "constraint_column_usage": _constraint_columns,
    "views": _views,
}
_BARE = {
    "sqlite_master": _sqlite_master,
    "sqlite_schema": _sqlite_master,
    "sqlite_temp_master": lambda manifest, schema: (_sqlite_master(manifest, schema)[0], []),
    "pg_tables": _pg_tables,
    "pg_views": _pg_views,
    "pg_table_def": _pg_table_def,
    "svv_tables": _tables,
    "svv_columns": _columns,
    "user_tables": _oracle_tables,
    "all_tables": _oracle_tables,
    "user_tab_columns": _oracle_columns,
    "all_tab_columns": _oracle_columns,
    "dual": _dual,
}
_CALLED = {
    "pragma_table_info": _table_info,
    "pragma_table_xinfo": _table_info,
    "pragma_foreign_key_list": _foreign_key_list,
}
_SYS = {"tables": _sys_tables, "views": _sys_views}
