"""Settings: read from the environment once, secrets kept out of words."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from api.model_keys import key_for
from api.settings import Settings, SettingsError, read_settings, settings_table


def test_lists_urls_and_secrets_are_read() -> None:
    found = read_settings(
        {
            "TRAJC_HOME": "/data",
            "TRAJC_BASE_URL": "http://a:1/v1/, http://b:2/v1",
            "OPENAI_API_KEY": "k",
            "TRAJC_API_KEYS": "x,y",
            "TRAJC_ENVIRONMENTS": '{"sql": {"query_seconds": 60}}',
            "TRAJC_PORT": "",
        }
    )
    assert found == Settings(
        home=Path("/data"),
        base_url=("http://a:1/v1", "http://b:2/v1"),
        model_key=SecretStr("k"),
        api_keys=(SecretStr("x"), SecretStr("y")),
        environments={"sql": {"query_seconds": 60}},
    )
    assert found.database == "sqlite:////data/trajc.db"


def test_our_own_key_comes_before_the_general_one() -> None:
    found = read_settings({"TRAJC_MODEL_KEY": "ours", "OPENAI_API_KEY": "general"})
    assert found.model_key == SecretStr("ours")


def test_what_cannot_be_read_is_named_and_not_shown() -> None:
    with pytest.raises(SettingsError) as raised:
        read_settings({"TRAJC_PORT": "hunter2", "TRAJC_ENVIRONMENTS": "{hunter2"})
    words = str(raised.value)
    assert "TRAJC_PORT: " in words
    assert "TRAJC_ENVIRONMENTS: " in words
    assert "hunter2" not in words


@pytest.mark.parametrize("name", ["TRAJC_SHUTDOWN_SECONDS", "TRAJC_LEASE_SECONDS", "TRAJC_POLL_SECONDS"])
@pytest.mark.parametrize("value", ["inf", "nan"])
def test_a_time_without_end_is_refused_by_its_name(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name}: Input should be a finite number$"):
        read_settings({name: value})


def test_no_secret_stands_in_a_settings_own_words() -> None:
    found = read_settings({"TRAJC_MODEL_KEY": "hunter2", "TRAJC_API_KEYS": "hunter2", "TRAJC_KEY": "hunter2"})
    assert "hunter2" not in repr(found) + str(found) + found.model_dump_json()


def test_the_model_key_goes_to_no_endpoint_that_a_stranger_names() -> None:
    shared = read_settings({"TRAJC_BASE_URL": "http://a/v1", "TRAJC_MODEL_KEY": "k", "TRAJC_API_KEYS": "x"})
    assert (key_for(shared, "http://a/v1/"), key_for(shared, "http://evil/v1")) == ("k", None)
    alone = read_settings({"TRAJC_BASE_URL": "http://a/v1", "TRAJC_MODEL_KEY": "k"})
    assert key_for(alone, "http://b/v1") == "k"


def test_every_setting_is_in_the_table() -> None:
    rows = settings_table().splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == [f"TRAJC_{name.upper()}" for name in Settings.model_fields]
    assert all(not row.endswith("| None |") for row in rows)


def test_dockers_own_variable_names_the_engine_unless_the_setting_does() -> None:
    host = {"DOCKER_HOST": "tcp://engine:1"}
    assert read_settings(host).environments == {"swe": {"docker_url": "tcp://engine:1"}}
    named = {**host, "TRAJC_ENVIRONMENTS": '{"swe": {"docker_url": "tcp://other:1", "image": "i"}, "sql": {}}'}
    assert read_settings(named).environments == {"swe": {"docker_url": "tcp://other:1", "image": "i"}, "sql": {}}
    assert read_settings({}).environments == {}


@pytest.mark.parametrize("url", ["http://u:hunter2@a/v1", "http://a/v1?api_key=hunter2", "http://a/v1#hunter2"])
def test_a_key_in_a_base_url_is_not_shown_wherever_endpoints_are(url: str) -> None:
    """Metrics, pages, events and rollouts' errors name endpoints by their URLs."""
    with pytest.raises(SettingsError) as raised:
        read_settings({"TRAJC_BASE_URL": f"http://b/v1,{url}"})
    assert "TRAJC_BASE_URL: " in str(raised.value)
    assert "API keys belong in the settings" in str(raised.value)
    assert "TRAJC_MODEL_KEYS" in str(raised.value)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    "url", ["redis://:sec/ret@host:6379/0", "redis://host:secret/0", "redis://host/secret", "redis://:x#secret@host"]
)
def test_a_redis_url_that_cannot_be_read_is_named_without_what_may_be_its_password(url: str) -> None:
    with pytest.raises(SettingsError, match="TRAJC_REDIS_URL: its port or its database is no number") as told:
        read_settings({"TRAJC_REDIS_URL": url})
    assert "sec" not in str(told.value)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis://:secret@host?soket_timeout=3", "no option 'soket_timeout'"),
        ("rediss://:secret@host?ssl_cert_reqs=maybe", "ssl_cert_reqs|Certificate"),
        ("redis://:secret@host?socket_timeout=soon", "socket_timeout"),
        ("unix:///a/b?db=secret&password=secret", "db"),
    ],
)
def test_an_option_of_a_redis_url_that_redis_has_not_is_named_at_once(url: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words) as refused:
        read_settings({"TRAJC_REDIS_URL": url})
    assert "TRAJC_REDIS_URL" in str(refused.value)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "url", ["redis://host", "redis://:a%2Fb@host:6379/12", "rediss://h/?ssl_cert_reqs=none", "unix:///a/b?db=2"]
)
def test_a_redis_url_that_can_be_read_is_taken(url: str) -> None:
    assert read_settings({"TRAJC_REDIS_URL": url}).redis_url == url
