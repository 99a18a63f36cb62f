"""A table's definition as a CREATE statement, the form that agents know best."""

from envs.sql.functions import reserved_words
from envs.sql.manifest import Table, View

PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")


def create_statement(relation: Table | View) -> str:
    if isinstance(relation, View):
        return f"CREATE VIEW {named(relation.name)} AS {relation.sql}"
    lines = [
        f"{named(column.name)} {column.type}" + ("" if column.nullable else " NOT NULL") for column in relation.columns
    ]
    if relation.primary_key:
        lines.append(f"PRIMARY KEY ({_listed(relation.primary_key)})")
    for key in relation.foreign_keys:
        lines.append(f"FOREIGN KEY ({_listed(key.columns)}) REFERENCES {named(key.table)} ({_listed(key.refers)})")
    return f"CREATE TABLE {named(relation.name)} (\n  " + ",\n  ".join(lines) + "\n)"


def named(name: str) -> str:
    """The name as SQL takes it: quoted only where it must be."""
    if name and set(name) <= PLAIN and not name[0].isdigit() and name.lower() not in reserved_words():
        return name
    return quoted(name)


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(map(named, names))
