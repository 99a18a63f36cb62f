"""Whether a query says in what order its rows come."""

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError


def orders(sql: str, dialect: str = "duckdb") -> bool:
    """True when the outermost query has an ORDER BY and can give more than one row: for one row at most
    (`LIMIT 1`) an order only chooses it."""
    try:
        tree = sqlglot.parse_one(sql, dialect=dialect)
    except SqlglotError:
        return False
    while isinstance(tree, exp.Subquery) and not tree.args.get("order"):
        tree = tree.this
    if not isinstance(tree, exp.Query) or not tree.args.get("order"):
        return False
    limit = tree.args.get("limit")
    amount = limit.args.get("expression") if limit is not None else None
    return not (isinstance(amount, exp.Literal) and amount.name == "1")
