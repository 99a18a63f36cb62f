"""Each of the oracle's settings is a flag; a flag that cannot be read is named."""

import inspect
import re
from dataclasses import fields

import pytest

from api.cli.oracle_command import faults_of, oracle
from api.oracle import Faults, OracleSettings


def test_every_setting_but_the_models_name_is_a_flag() -> None:
    flags = {"faults" if name == "fault" else name for name in inspect.signature(oracle).parameters}
    assert {one.name for one in fields(OracleSettings)} - flags == {"model"}


def test_a_flags_default_is_the_settings_own() -> None:
    usual = OracleSettings()
    of = {name: one.default for name, one in inspect.signature(oracle).parameters.items()}
    shared = {one.name for one in fields(OracleSettings)} & of.keys()
    assert {name: of[name] for name in shared} == {name: getattr(usual, name) for name in shared}


def test_faults_are_read_from_pairs() -> None:
    assert faults_of(["hang=0.1", "reset=0.2"]) == Faults(hang=0.1, reset=0.2)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("hang", "--fault hang: it takes KIND=SHARE, such as rate_limited=0.1"),
        ("hang=often", "--fault hang=often: it takes KIND=SHARE, such as rate_limited=0.1"),
        (
            "hand=1",
            "--fault hand=1: unknown kind 'hand'; known: rate_limited, server_error, reset, hang, malformed, unparsed",
        ),
        ("hang=2", "hang is a share between 0 and 1, not 2.0"),
    ],
)
def test_a_fault_that_cannot_be_read_is_named(given: str, words: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        faults_of([given])
