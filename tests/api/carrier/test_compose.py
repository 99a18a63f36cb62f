"""docker-compose.yml and the Dockerfile name commands, settings and files that exist, and no secret."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from api.cli import app
from api.settings import Settings, variable

ROOT = Path(__file__).parents[3]
OURS = ("api", "worker-rollouts", "worker-generation", "worker-compile")


@pytest.fixture(scope="module")
def compose() -> Any:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


@pytest.fixture(scope="module")
def services(compose: Any) -> Any:
    return compose["services"]


def parse(words: list[str]) -> dict[str, Any]:
    """What the command makes of these words; fails where it does not know them."""
    command: Any = get_command(app)
    while hasattr(command, "commands"):
        command, words = command.commands[words[0]], words[1:]
    return dict(command.make_context("trajc", list(words)).params)


def test_each_command_exists_with_its_options(services: Any) -> None:
    assert {name: parse(services[name]["command"]) for name in OURS} == {
        "api": {"host": None, "port": None},
        "worker-rollouts": {"concurrency": 256},
        "worker-generation": {"concurrency": 64},
        "worker-compile": {"concurrency": 2},
    }


def test_each_setting_exists(services: Any) -> None:
    known = {variable(name) for name in Settings.model_fields}
    for name in OURS:
        assert set(services[name]["environment"]) <= known


def test_all_share_one_home_one_database_and_one_redis(services: Any) -> None:
    for name in OURS:
        assert "home:/data" in services[name]["volumes"]
        assert services[name]["environment"]["TRAJC_HOME"] == "/data"
        assert services[name]["environment"]["TRAJC_REDIS_URL"] == "redis://redis:6379/0"
        assert services[name]["environment"]["TRAJC_DATABASE_URL"].endswith("@postgres/trajc")


def test_what_others_wait_for_has_a_healthcheck(services: Any) -> None:
    awaited = {
        other
        for service in services.values()
        for other, until in service.get("depends_on", {}).items()
        if until["condition"] == "service_healthy"
    }
    assert awaited == {"redis", "postgres"}
    assert {name for name, service in services.items() if "healthcheck" in service} == awaited | {"api"}


def test_one_service_builds_the_image_and_those_that_run_it_come_after(services: Any) -> None:
    built = [name for name in services if "build" in services[name]]
    assert built == ["api"]
    for name in OURS:
        assert (services[name]["image"], services[name]["pull_policy"]) == (services["api"]["image"], "never")
        assert set(services[name]["depends_on"]) == {"redis", "postgres"} | ({"api"} - {name})


def test_no_two_workers_on_an_engine_have_one_name(services: Any) -> None:
    """Containers are reaped by their host's name: two projects, or two services, must not share one."""
    names = {name: services[name].get("hostname") for name in services if "docker.sock" in str(services[name])}
    assert names == {name: f"${{COMPOSE_PROJECT_NAME:-trajc}}-{name}" for name in names}
    assert len(names) == 2


def test_a_model_server_on_this_machine_can_be_reached(services: Any) -> None:
    for name in OURS:
        assert services[name]["extra_hosts"] == ["host.docker.internal:host-gateway"]


def test_the_docker_socket_is_for_those_alone_who_run_and_score_rollouts(services: Any) -> None:
    having = [name for name, service in services.items() if "docker.sock" in str(service.get("volumes"))]
    assert having == ["worker-rollouts", "worker-generation"]


def test_workers_get_longer_to_end_than_they_take(services: Any) -> None:
    from rollout.engine import Timing

    needs = Settings.model_fields["shutdown_seconds"].default + Timing.close
    for name in OURS:
        assert int(services[name]["stop_grace_period"].removesuffix("s")) > needs


def test_no_secret_stands_in_it(services: Any) -> None:
    named = 0
    for service in services.values():
        for name, value in service.get("environment", {}).items():
            if re.search("KEY|PASSWORD|DATABASE_URL", name):
                named += 1
                assert re.search(r"\$\{[A-Z_]+:[?-]", value), f"{name} is given in plain words"
    assert named == 10


def test_only_this_machine_reaches_the_service(services: Any) -> None:
    assert [port for service in services.values() for port in service.get("ports", [])] == ["127.0.0.1:8420:8420"]


def said() -> list[tuple[str, str]]:
    """Each instruction of the Dockerfile with its words, in order."""
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    return [(first, rest) for first, _, rest in (line.partition(" ") for line in lines) if first.isupper()]


def test_the_image_runs_a_command_that_exists_on_the_volume_that_is_shared(services: Any) -> None:
    image = dict(said())
    assert json.loads(image["ENTRYPOINT"]) == ["trajc"]
    assert parse(json.loads(image["CMD"])) == parse(services["api"]["command"])
    assert image["ENV"] == f"TRAJC_HOME={image['VOLUME']}"
    assert services["api"]["environment"]["TRAJC_HOME"] == image["VOLUME"]


def test_a_change_of_the_source_fetches_no_dependencies_again() -> None:
    steps = [(first, rest) for first, rest in said() if first == "COPY" or "pip install" in rest]
    assert steps == [
        ("COPY", "LICENSE README.md pyproject.toml ./"),
        ("RUN", "pip install --no-cache-dir ."),
        ("COPY", ". ."),
        ("RUN", "pip install --no-cache-dir --no-deps ."),
    ]


def test_the_image_holds_each_package_and_nothing_that_lies_beside_them() -> None:
    """A file `.env` with the keys, say, lies beside docker-compose.yml."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert (lines[0], lines[-1]) == ("*", "**/__pycache__")
    assert {line.removeprefix("!") for line in lines[1:-1]} == {"LICENSE", "README.md", "pyproject.toml"} | packages
