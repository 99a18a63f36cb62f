"""docs/search.md names every setting that there is."""

from pathlib import Path

import envs
from envs.search.settings import SearchSettings
from envs.search.tools import TOOLS
from envs.search.web.providers import ProviderSettings
from envs.search.web.settings import WebSettings

PAGE = (Path(envs.__file__).parent.parent / "docs" / "search.md").read_text()


def test_every_setting_and_tool_is_described() -> None:
    fields = [*SearchSettings.model_fields, *WebSettings.model_fields, *ProviderSettings.model_fields]
    names = [*fields, *(f"{tool.name}(" for tool in TOOLS)]
    assert [name for name in names if f"`{name}" not in PAGE] == []
