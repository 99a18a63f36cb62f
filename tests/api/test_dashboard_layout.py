"""Where things stand on a page, as a browser lays it out."""

import html
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.service import Service
from envs.task import Task
from rollout.runs import RunSpec, TaskRow

STYLE = Path(__file__).parents[2] / "api/dashboard/static/style.css"


def laid_out(page: str, width: int, measure: str, folder: Path) -> Any:
    """What the JavaScript expression gives on the page, in a window of so many pixels."""
    style = f"<style>{STYLE.read_text()}</style>"
    page = re.sub(r'<link rel="stylesheet".*?>', lambda _: style, page)
    page = re.sub(r"<script.*?</script>", "", page)
    measured = f"<script>document.title = JSON.stringify({measure})</script>"
    (folder / "page.html").write_text(page.replace("</body>", f"{measured}</body>"))
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--dump-dom", "--hide-scrollbars"]
    options += [f"--user-data-dir={folder / 'profile'}", f"--window-size={width},900"]
    command = ["chromium", *options, (folder / "page.html").as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True).stdout
    (title,) = re.findall(r"<title>(.*?)</title>", dom)
    return json.loads(html.unescape(title))


@pytest.mark.needs("chromium")
def test_a_long_name_pushes_no_column_out_of_the_window(service: Service, client: TestClient, tmp_path: Path) -> None:
    task = Task(id="x" * 256, environment="search", question="q", world={"corpus": "c"})
    spec = RunSpec(environment="search", model="m" * 200, name="W" * 200)
    run = service.store.create_run(spec, [TaskRow(task)]).id
    for path in ("/", f"/runs/{run}"):
        width = laid_out(client.get(path).text, 1280, "document.documentElement.scrollWidth", tmp_path)
        assert width <= 1280, path


@pytest.mark.needs("chromium")
def test_on_a_narrow_screen_it_is_seen_whether_there_is_a_connection(client: TestClient, tmp_path: Path) -> None:
    page = client.get("/").text.replace('<span class="live"></span>', '<span class="live">no connection</span>')
    narrow = page.replace("<body>", '<body style="width: 390px">')  # no window of a browser is narrower than 500
    right = laid_out(narrow, 500, "document.querySelector('.live').getBoundingClientRect().right", tmp_path)
    assert right <= 390
