"""Which functions a query may call, taken from a clean connection of the DuckDB that runs it.

A database can define macros that wrap `read_text` or hide behind a built-in's name, so the list never comes from
the database itself. Of DuckDB's own functions, those that read or write files, run SQL given as text, tell of
settings, catalog or process, wait, log or keep state are left out.
"""

import re
from functools import cache
from typing import Any

import duckdb
from sqlglot import exp

DENIED = frozenset(
    """
    alias_name checkpoint col_description combine combine_aggr create_sort_key current_catalog
    current_connection_id current_query current_query_id current_schemas current_setting current_transaction_id
    currval error finalize format_pg_type format_type get_block_size getvariable in_search_path index_key
    invoke json_deserialize_sql json_serialize_plan json_serialize_sql json_execute_serialized_sql map_to_pg_oid
    nextval obj_description parse_duckdb_log_message setseed setval shobj_description sleep_ms stats
    to_aggregate_state txid_current vector_type write_log
    """.split()  # noqa: SIM905
)
DENIED_SHAPES = re.compile(
    r"(__internal|__cast|__postfix|pg_|has_.*privilege|inet_|icu_collate_|duckdb_|json_copy_|read_)"
)
HARMLESS_PG = frozenset({"pg_typeof", "pg_size_pretty"})
TABLE_FUNCTIONS = frozenset(
    {"range", "generate_series", "unnest", "json_each", "json_tree", "repeat_row", "generate_subscripts"}
)

SYNTAX = frozenset(
    """
    and or xor case if cast try_cast coalesce nullif exists array struct to_map extract columns interval unnest
    try ifnull grouping grouping_id row_number rank dense_rank percent_rank cume_dist ntile lag lead first_value
    last_value nth_value any all position trim inline list struct_pack row map not in current_date current_time
    current_timestamp localtime localtimestamp current_user session_user user current_role
    """.split()  # noqa: SIM905
)
"""What DuckDB's grammar spells like a function, and window functions."""


@cache
def clean_connection() -> Any:
    """An empty in-memory database that nothing is ever created in: DuckDB's own parser and function list."""
    connection = duckdb.connect(
        ":memory:", config={"threads": "1", "async_threads": "0", "python_enable_replacements": "false"}
    )
    connection.execute("SET enable_external_access=false")
    connection.execute("SET lock_configuration=true")
    return connection


@cache
def allowed_functions() -> frozenset[str]:
    """Lower-case names of the functions that may stand in expressions."""
    listed = clean_connection().execute(
        "SELECT DISTINCT lower(function_name) FROM duckdb_functions()"
        " WHERE function_type IN ('scalar', 'aggregate', 'macro', 'window')"
    )
    return SYNTAX | frozenset(name for (name,) in listed.fetchall() if _harmless(name))


@cache
def reserved_words() -> frozenset[str]:
    """Lower-case words that cannot name a table or column unless they are quoted."""
    listed = clean_connection().execute(
        "SELECT lower(keyword_name) FROM duckdb_keywords() WHERE keyword_category <> 'unreserved'"
    )
    return frozenset(word for (word,) in listed.fetchall())


def _harmless(name: str) -> bool:
    return name in HARMLESS_PG or (name not in DENIED and not DENIED_SHAPES.match(name))


@cache
def allowed_classes() -> frozenset[type]:
    """sqlglot's classes of functions that at least one allowed function parses to."""
    allowed = allowed_functions() | TABLE_FUNCTIONS
    known = set(exp.FUNCTION_BY_NAME.items())
    classes = {cls for name, cls in known if name.lower() in allowed}
    return frozenset(classes | _DIALECT_CLASSES)


_DIALECT_CLASSES = frozenset(
    getattr(exp, name)
    for name in """
    And Or Xor Case If Cast TryCast Coalesce Exists Array Struct ToMap Map Extract Columns Unnest Explode
    GenerateSeries GenerateDateArray Count CountIf Sum Avg Min Max ArrayAgg GroupConcat TimestampTrunc DateTrunc
    DateDiff DateAdd DateSub DateStrToDate TsOrDsToDate TsOrDsAdd TsOrDsDiff StrToTime StrToDate StrPosition
    TimeToStr TimeStrToTime UnixToTime Substring Trim Concat ConcatWs RegexpLike RegexpILike RegexpExtract
    RegexpExtractAll RegexpReplace RegexpSplit Split SplitPart JSONExtract JSONExtractScalar JSONBExtract
    ParseJSON JSONObject JSONArray JSONArrayContains JSONFormat Transform Reduce ArrayFilter ArraySort ArraySize
    ArrayContains ArrayContainsAll ArrayOverlaps ArrayConcat ArrayToString StructExtract VarMap Quantile
    PercentileCont PercentileDisc ApproxDistinct ApproxQuantile ArgMax ArgMin LogicalAnd LogicalOr Variance
    VariancePop Stddev StddevPop StddevSamp First Last AnyValue FirstValue LastValue NthValue Lag Lead RowNumber
    Rank DenseRank PercentRank CumeDist Ntile CurrentDate CurrentTime CurrentTimestamp Localtime Localtimestamp
    CurrentUser CurrentDatabase CurrentSchema CurrentVersion SessionUser Try Rand Randn Uuid Chr Unicode Length
    Lower Upper Initcap Left Right Pad Repeat Round Ceil Floor Abs Sign Pow Sqrt Cbrt Exp Ln Log Greatest Least
    Nullif SHA SHA2 MD5 Hex Unhex Year Month Day Week Quarter DayOfWeek DayOfMonth DayOfYear DayOfWeekIso
    WeekOfYear LastDay MonthsBetween Date Time Timestamp DateFromParts TimestampFromParts TimeFromParts
    Levenshtein JarowinklerSimilarity Translate Reverse BitwiseXorAgg BitwiseAndAgg BitwiseOrAgg BitwiseCount
    Median Mode Corr CovarPop CovarSamp Grouping GroupingId IsNan IsInf Typeof Flatten ToChar ToNumber ToDays
    Encode Decode FromBase64 ToBase64 StartsWith EndsWith Contains ArrayDistinct ArrayUniqueAgg ArrayMax
    ArrayMin ArraySum ArraySlice ArrayReverse ArrayAppend ArrayPrepend ArrayPosition ArrayIntersect List
    TimeToUnix EuclideanDistance CosineDistance DateBin Collate
    """.split()  # noqa: SIM905
    if isinstance(getattr(exp, name, None), type) and issubclass(getattr(exp, name), exp.Func)
)
