"""What others wrote cannot steer the terminal that it is shown on."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from typer.testing import CliRunner

from api.cli import app
from api.cli.terminal import write
from api.numbers import thousands
from api.service import Service
from envs.task import Task
from rollout.runs import RunSpec, TaskRow

HOSTILE = "\x1b]0;owned\x07\x1b[2J\u202eexe.gnp"
HARMLESS = r"\x1b]0;owned\x07\x1b[2J\x202eexe.gnp"
"""The same, to be read."""


def test_what_an_endpoint_said_steers_no_terminal(
    service: Service, serve_app: Callable[[Service], AbstractContextManager[str]]
) -> None:
    task = Task(id="t", environment="search", question="q", world={"corpus": "c"})
    run = service.store.create_run(RunSpec(environment="search", model="m", max_attempts=1), [TaskRow(task)]).id
    (claim,) = service.store.claim("w", ("rollout",), 1, service.store.now(), 60)
    service.store.fail(claim, "model_error", HOSTILE)
    with serve_app(service) as url:
        for words in (("inspect", run), ("inspect", claim.job), ("runs", "show", run)):
            shown = CliRunner().invoke(app, (*words, "--url", url)).stdout
            assert (HARMLESS in shown, "\x1b" in shown, "\u202e" in shown) == (True, False, False), shown


def test_failures_that_are_not_listed_are_counted_and_found(
    service: Service, serve_app: Callable[[Service], AbstractContextManager[str]]
) -> None:
    task = Task(id="t", environment="search", question="q", world={"corpus": "c"})
    spec = RunSpec(environment="search", model="m", samples=7, max_attempts=1)
    run = service.store.create_run(spec, [TaskRow(task)]).id
    for claim in service.store.claim("w", ("rollout",), 7, service.store.now(), 60):
        service.store.fail(claim, "model_error", "no")
    with serve_app(service) as url:
        last = CliRunner().invoke(app, ("inspect", run, "--url", url)).stdout.splitlines()[-1]
        assert last == f"  ... and 2 more: {url}/rollouts?run={run}&failure=model_error"


def test_the_narrow_spaces_in_numbers_stay(capsys: pytest.CaptureFixture[str]) -> None:
    write(f"{thousands(1234567)} tokens")
    assert capsys.readouterr().out == "1\u202f234\u202f567 tokens\n"
