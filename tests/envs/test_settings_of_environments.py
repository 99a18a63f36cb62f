"""A setting that no environment has is an error that names those there are; it is never ignored."""

from pathlib import Path

import pytest

from envs.blobs import MemoryBlobs
from envs.environment import Site
from envs.errors import TaskError
from envs.registry import create


@pytest.mark.parametrize(
    ("environment", "given", "words"),
    [
        (
            "sql",
            {"query_second": 60},
            "sql environment: query_second: Extra inputs are not permitted; known: workers, ",
        ),
        (
            "swe",
            {"sandboxes": "docker"},
            "swe environment: sandboxes: Extra inputs are not permitted; known: sandbox, ",
        ),
        ("swe", {"sandbox": "vm"}, "sandbox: Input should be 'docker' or 'bubblewrap'"),
        ("swe", {"required_limits": ["gravity"]}, "required_limits.0: Input should be 'network'"),
        ("sql", {"memory": "much"}, "memory: String should match pattern"),
    ],
)
def test_a_setting_that_is_unknown_or_wrong_names_the_known_ones(
    tmp_path: Path, environment: str, given: dict[str, object], words: str
) -> None:
    with pytest.raises(TaskError) as raised:
        create(environment, Site(tmp_path, MemoryBlobs(), given))
    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("environment", "given"), [("sql", {"query_seconds": 5, "memory": "1GB"}), ("swe", {"warm": 2, "rootfs": "/r"})]
)
def test_known_settings_are_taken(tmp_path: Path, environment: str, given: dict[str, object]) -> None:
    create(environment, Site(tmp_path, MemoryBlobs(), given))
