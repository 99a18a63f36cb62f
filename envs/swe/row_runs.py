"""In which image a row's tests run, and by which command: what the row says, else the conventions of its data set."""

import re
from collections.abc import Mapping
from typing import Any

from envs.swe.make.suite import PYTEST
from envs.swe.patch import touched

IMAGE_FIELDS = ("image_name", "docker_image", "image")
COMMAND_FIELDS = ("test_command", "test_cmd")
BENCH_IMAGE = "swebench/sweb.eval.x86_64.{instance}:latest"
"""SWE-bench's images; `{instance}` is the row's id in lower case with `_1776_` for `__`, as its harness names them."""
NOT_TESTS = (".json", ".png", ".csv", ".txt", ".md", ".rst", ".jpg", ".jpeg", ".pkl", ".yml", ".yaml", ".toml", ".html")

DJANGO = "python tests/runtests.py --verbosity 2 --settings=test_sqlite --parallel 1"
SYMPY = "PYTHONWARNINGS=ignore::UserWarning,ignore::SyntaxWarning bin/test -C --verbose"
COMMANDS = {"django/django": DJANGO, "sympy/sympy": SYMPY}
"""SWE-bench's repositories that are not tested by pytest."""


def image_of(row: Mapping[str, Any], template: str | None = None) -> str | None:
    """The row's own image; else the template filled in; else SWE-bench's, for rows that carry its `version`; else
    None, which is trajc's base image. A template may hold `{instance}` (see `BENCH_IMAGE`), `{id}` and `{repo}`."""
    for field in IMAGE_FIELDS:
        if isinstance(row.get(field), str) and row[field]:
            return str(row[field])
    if template is None and row.get("version") and "test_patch" in row:
        template = BENCH_IMAGE
    if template is None:
        return None
    id = str(row.get("instance_id", ""))
    named = {"instance": id.lower().replace("__", "_1776_"), "id": id, "repo": str(row.get("repo", ""))}
    return re.sub(r"\{(instance|id|repo)\}", lambda m: named[m[1]], template)


def command_of(row: Mapping[str, Any]) -> str:
    install = row.get("install_config")
    for fields in (row, install if isinstance(install, Mapping) else {}):
        for field in COMMAND_FIELDS:
            value = fields.get(field)
            if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
                value = " && ".join(value)
            if isinstance(value, str) and value.strip():
                return value.strip()
    return COMMANDS.get(str(row.get("repo")), PYTEST)


def targets_of(row: Mapping[str, Any], command: str) -> tuple[str, ...]:
    """What is asked of runners that take no paths: Django's takes modules, from below `tests`."""
    if "runtests.py" not in command:
        return ()
    paths = [path for path in touched(str(row.get("test_patch") or "")) if not path.endswith(NOT_TESTS)]
    return tuple(dict.fromkeys(p.removesuffix(".py").removeprefix("tests/").replace("/", ".") for p in paths))
