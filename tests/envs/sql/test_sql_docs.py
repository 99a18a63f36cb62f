"""docs/sql.md names every setting, tool, scorer, source and dialect that there is."""

from pathlib import Path

import envs
from envs.sql.dialect import KNOWN
from envs.sql.scoring import SCORERS
from envs.sql.settings import SqlSettings
from envs.sql.sources import READERS
from envs.sql.tools import TOOLS

PAGE = (Path(envs.__file__).parent.parent / "docs" / "sql.md").read_text()


def test_everything_is_described() -> None:
    names = [*SqlSettings.model_fields, *SCORERS, *READERS, *KNOWN, *(f"{tool.name}(" for tool in TOOLS)]
    assert [name for name in names if f"`{name}" not in PAGE] == []
