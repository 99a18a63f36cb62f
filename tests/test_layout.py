"""The house: arrows point down only, and nothing runs in a circle."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = {"envs": 1, "rollout": 2, "compiler": 3, "evals": 3, "api": 4}


def modules() -> dict[str, Path]:
    """Every module of the project by dotted name."""
    found = {}
    for floor in FLOORS:
        for path in (ROOT / floor).rglob("*.py"):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


def imports(source: str, module: str, known: set[str], is_package: bool = False) -> Iterator[str]:
    """The project's modules that this source imports, wherever in it the import stands."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                parts = parts[: len(parts) - node.level + is_package]
                base = ".".join([*parts, base] if base else parts)
            names = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            while name and name not in known:
                name = name.rpartition(".")[0]
            if name:
                yield name


def upward(graph: dict[str, set[str]]) -> list[str]:
    """Imports that run up, or between the two packages of floor 3."""
    faults = []
    for module, targets in sorted(graph.items()):
        floor = module.split(".")[0]
        for target in sorted(targets):
            other = target.split(".")[0]
            if other != floor and FLOORS[other] >= FLOORS[floor]:
                faults.append(f"{module} imports {target}")
    return faults


def project() -> dict[str, set[str]]:
    found = modules()
    known = set(found)
    return {
        name: {
            target
            for target in imports(path.read_text(), name, known, path.name == "__init__.py")
            # `from package import submodule` names the package only in passing.
            if target != name
        }
        for name, path in found.items()
    }


def test_no_import_runs_up() -> None:
    assert upward(project()) == []


def test_no_circle_of_imports() -> None:
    list(TopologicalSorter(project()).static_order())


def test_a_planted_arrow_up_is_found() -> None:
    known = {"envs.task", "rollout.store", "api.app"}
    source = "def late():\n    from rollout import store\n"
    assert upward({"envs.task": set(imports(source, "envs.task", known))}) == ["envs.task imports rollout.store"]


def test_a_planted_relative_circle_is_found() -> None:
    known = {"envs", "envs.a", "envs.b"}
    graph = {
        "envs.a": set(imports("from .b import x", "envs.a", known)),
        "envs.b": set(imports("from envs import a", "envs.b", known)),
    }
    with pytest.raises(ValueError, match="cycle"):
        list(TopologicalSorter(graph).static_order())


def reads_environment(source: str) -> bool:
    """Whether the code asks for `os.environ` or `os.getenv`; a text that only names them does not."""
    wanted = {"environ", "environb", "getenv", "getenvb"}
    return any(
        (isinstance(node, ast.Attribute) and node.attr in wanted)
        or (isinstance(node, ast.ImportFrom) and node.module == "os" and wanted & {a.name for a in node.names})
        for node in ast.walk(ast.parse(source))
    )


def test_lower_floors_read_no_environment_variables() -> None:
    assert reads_environment("import os\nhome = os.environ['HOME']\n")
    assert not reads_environment("FUNCTIONS = 'getenv environ'\n")
    lower = {name: path for name, path in modules().items() if not name.startswith("api")}
    assert [name for name, path in lower.items() if reads_environment(path.read_text())] == []
