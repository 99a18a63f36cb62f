"""The parts of SQL's grammar that a read-only query may be made of, as sqlglot names them."""

from sqlglot import exp

_ALLOWED = """
    Select Union Intersect Except SetOperation Subquery Values With CTE Table TableAlias TableSample
    Pivot PivotAlias PivotAny UnpivotColumns Lateral UDTF From Join Where Group GroupingSets Cube Rollup Having Qualify
    Window WindowSpec Order Ordered Limit LimitOptions Fetch Offset Distinct Star Column Identifier Alias Aliases
    Dot Bracket Slice Tuple Paren Literal Null Boolean HexString BitString ByteString RawString National Var
    Interval IntervalSpan IntervalOp DataType DataTypeParam PseudoType ColumnDef AtTimeZone FromTimeZone Collate
    Add Sub Mul Div IntDiv Mod DPipe Neg Not EQ NEQ GT GTE LT LTE Is In Between Like ILike SimilarTo Glob Escape
    NullSafeEQ NullSafeNEQ BitwiseAnd BitwiseOr BitwiseXor BitwiseNot BitwiseLeftShift BitwiseRightShift Operator
    Any All Overlaps Distance Kwarg PropertyEQ Lambda Comprehension ForIn Filter WithinGroup IgnoreNulls RespectNulls
    HavingMax JSON JSONPath JSONPathFilter JSONPathKey JSONPathPart JSONPathRecursive JSONPathRoot JSONPathScript
    JSONPathSelector JSONPathSlice JSONPathSubscript JSONPathUnion JSONPathWildcard JSONKeyValue PositionalColumn
    TimeUnit ArrayOverlaps ArrayContainsAll ArrayContainedBy Hint OverflowTruncateBehavior
    UnicodeString Adjacent ExtendsLeft ExtendsRight Nearest Pseudocolumn
"""

NODES: frozenset[type] = frozenset(
    kind for name in _ALLOWED.split() if isinstance(kind := getattr(exp, name, None), type)
)

READABLE = {
    "Insert": "INSERT",
    "Update": "UPDATE",
    "Delete": "DELETE",
    "Merge": "MERGE",
    "Create": "CREATE",
    "Drop": "DROP",
    "Alter": "ALTER",
    "TruncateTable": "TRUNCATE",
    "Copy": "COPY",
    "Export": "EXPORT",
    "Attach": "ATTACH",
    "Detach": "DETACH",
    "Use": "USE",
    "Set": "SET",
    "Pragma": "PRAGMA",
    "Install": "INSTALL",
    "Into": "SELECT INTO",
    "Lock": "FOR UPDATE",
    "Placeholder": "query parameters",
    "Parameter": "query parameters",
}
"""How the refusal names a part, where sqlglot's own name would puzzle."""

WRITES = frozenset({"Insert", "Update", "Delete", "Merge", "Create", "Drop", "Alter", "TruncateTable", "Into"})
