"""The SQL environment's tools as the model sees them."""

from pydantic import BaseModel, Field

from envs.tool import ToolSpec


class ListTables(BaseModel):
    """No arguments."""


class DescribeTable(BaseModel):
    table: str = Field(min_length=1, max_length=512, description="Name of a table or view.")


class SampleRows(BaseModel):
    table: str = Field(min_length=1, max_length=512, description="Name of a table or view.")
    n: int = Field(default=5, ge=1, le=50, description="How many rows, 1 to 50.")


class RunSql(BaseModel):
    sql: str = Field(min_length=1, description="One read-only SQL query.")


class Answer(BaseModel):
    sql: str = Field(min_length=1, description="The one SQL query whose result answers the question.")


LIST_TABLES = ToolSpec("list_tables", "List the tables and views of the database with their row counts.", ListTables)
DESCRIBE_TABLE = ToolSpec(
    "describe_table", "Show a table's columns with types, keys, row count and a few values of each.", DescribeTable
)
SAMPLE_ROWS = ToolSpec("sample_rows", "Show the first rows of a table.", SampleRows)
RUN_SQL = ToolSpec("run_sql", "Run one read-only SQL query (DuckDB) and see its result; long results are cut.", RunSql)
ANSWER = ToolSpec(
    "answer",
    "Hand in the final answer: the query is run, and its result, all rows and columns, is what is judged. "
    "This ends the task; a query that fails does not.",
    Answer,
)
TOOLS = (LIST_TABLES, DESCRIBE_TABLE, SAMPLE_ROWS, RUN_SQL, ANSWER)
