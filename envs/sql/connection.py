"""A read-only DuckDB connection that reaches nothing but its own file.

Opening order matters: the database's handle is opened first, then the file system and the settings are locked.
DuckDB keeps the database's own path and its `.wal` reachable under `enable_external_access=false` alone, so the
whole local file system is disabled as well.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb

NOWHERE = "/nonexistent"
MEMORY = "512MB"
_NULL_IS_LEAST = {"default_null_order": "nulls_first_on_asc_last_on_desc"}
_NULL_IS_MOST = {"default_null_order": "nulls_last_on_asc_first_on_desc"}
_WHOLE = {"integer_division": "true"}
_NULL_BY_ZERO = {"error_on_division_by_zero": "false"}
MANNERS: Mapping[str, Mapping[str, str]] = {
    "mysql": {
        "default_collation": "nocase",
        "ieee_floating_point_ops": "false",  # or a fraction by 0 is infinite
        **_NULL_IS_LEAST,
        **_NULL_BY_ZERO,
    },
    "sqlite": {**_WHOLE, **_NULL_IS_LEAST, **_NULL_BY_ZERO},
    **{name: {**_WHOLE, **_NULL_IS_MOST} for name in ("postgres", "redshift")},
    **{name: {**_WHOLE, **_NULL_IS_LEAST} for name in ("tsql", "teradata")},
    "presto": _WHOLE,
    "trino": _WHOLE,
    "athena": _WHOLE,
    "oracle": _NULL_IS_MOST,
    "snowflake": _NULL_IS_MOST,
    "bigquery": _NULL_IS_LEAST,
    "spark": _NULL_IS_LEAST,
    "databricks": _NULL_IS_LEAST,
    "hive": _NULL_IS_LEAST,
}
"""Settings under which DuckDB compares, sorts and divides as another dialect's own database does."""


def open_locked(path: Path, seconds: float = 30, memory: str = MEMORY, dialect: str | None = None) -> Any:
    """A `DuckDBPyConnection`. `seconds` bounds each query as far as DuckDB can interrupt it; what it cannot
    interrupt, the worker's owner kills. `dialect` is the one whose `MANNERS` are taken."""
    config: dict[str, Any] = {
        "allow_community_extensions": "false",
        "allow_unsigned_extensions": "false",
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "allow_extension_repositories": "forbidden",
        "extension_directories": "[]",
        "allow_persistent_secrets": "false",
        "default_secret_storage": "memory",
        "secret_directory": NOWHERE,
        "home_directory": NOWHERE,
        "python_enable_replacements": "false",
        "python_scan_all_frames": "false",
        "memory_limit": memory,
        "threads": "1",
        "async_threads": "0",
        "temp_directory": "",
        "max_temp_directory_size": "0B",
        "max_execution_time": str(int(seconds * 1000)),
        "max_expression_depth": "250",
        "enable_external_file_cache": "false",
        "allowed_configs": "[]",
    }
    connection = duckdb.connect(str(path), read_only=True, config=config)
    try:
        for setting, value in MANNERS.get(dialect or "", {}).items():
            connection.execute(f"SET GLOBAL {setting}='{value}'")
        # After temp_directory, and in this order: given in the configuration, the first two refuse to open.
        connection.execute("SET enable_external_access=false")
        connection.execute("SET disabled_filesystems='LocalFileSystem'")
        connection.execute("SET lock_configuration=true")
    except BaseException:
        connection.close()
        raise
    return connection
