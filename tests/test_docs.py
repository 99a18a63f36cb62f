"""The documentation says what the code does."""

import re
from pathlib import Path

from typer.main import get_command

from api.cli import app
from api.settings import settings_table

ROOT = Path(__file__).parent.parent


def test_the_table_of_settings_is_the_code_s() -> None:
    assert (ROOT / "docs" / "settings.md").read_text().endswith(settings_table())


def test_every_command_that_the_readme_names_exists() -> None:
    known = set(get_command(app).commands)  # type: ignore[attr-defined]
    named = set(re.findall(r"\btrajc ([a-z]+)\b", "".join(re.findall(r"```(.*?)```", readme(), re.DOTALL))))
    named |= set(re.findall(r"`trajc ([a-z]+)", readme()))
    assert named
    assert named <= known


def test_every_page_that_the_readme_links_to_exists() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", readme()) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def readme() -> str:
    return (ROOT / "README.md").read_text()
