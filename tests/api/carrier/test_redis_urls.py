"""A Redis behind TLS, or behind a socket in a file: Celery and the pump read its URL alike."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import redis

from api.carrier.pump import CarrierAway
from api.carrier.redis_carrier import RedisCarrier
from tests.ports import free_port

pytestmark = pytest.mark.needs("redis")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the certificate of a server that nobody knows."""
    made = tmp_path_factory.mktemp("redis")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", "key.pem", "-out", "cert.pem", "-days", "2", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run(command + names, cwd=made, check=True, capture_output=True)
    return made


@pytest.fixture(scope="module")
def port(folder: Path) -> Iterator[int]:
    port = free_port()
    command = ["redis-server", "--port", "0", "--tls-port", str(port), "--tls-auth-clients", "no", "--save", ""]
    command += ["--tls-cert-file", "cert.pem", "--tls-key-file", "key.pem", "--tls-ca-cert-file", "cert.pem"]
    running = subprocess.Popen([*command, "--unixsocket", "redis.sock"], cwd=folder, stdout=subprocess.DEVNULL)
    try:
        while not (folder / "redis.sock").exists():
            assert running.poll() is None
            time.sleep(0.05)
        yield port
    finally:
        running.terminate()
        running.wait()


def carried(url: str) -> int:
    """Messages that one database of it holds after one was sent."""
    with closing(RedisCarrier(url)) as carrier:
        assert carrier.leads()
        carrier.send("trajc.rollouts", "ro_1", 1)
        return carrier.waiting("trajc.rollouts")


def test_a_redis_whose_certificate_nobody_knows_is_shown_no_password(port: int, folder: Path) -> None:
    """Celery by itself believes any certificate."""
    stranger = f"rediss://:password@localhost:{port}/0"
    with closing(RedisCarrier(stranger)) as carrier:
        with pytest.raises(CarrierAway, match="certificate verify failed"):
            carrier.leads()
        with pytest.raises(CarrierAway, match="certificate verify failed"):
            carrier.send("trajc.rollouts", "ro_1", 1)
    assert carried(f"rediss://127.0.0.1:{port}/1?ssl_ca_certs={folder}/cert.pem") == 1
    assert carried(f"rediss://127.0.0.1:{port}/2?ssl_cert_reqs=none") == 1


def test_a_redis_behind_a_socket_in_a_file_carries_messages(port: int, folder: Path) -> None:
    """The setting takes such URLs, which Celery writes otherwise."""
    assert port
    assert carried(f"unix://{folder}/redis.sock?db=3") == 1
    assert carried(f"unix://{folder}/redis.sock") == 1, "each database is one of its own"


def test_a_redis_that_refuses_says_why_and_tells_no_password(port: int, folder: Path) -> None:
    with redis.Redis(unix_socket_path=f"{folder}/redis.sock") as client, closing(client):
        client.config_set("maxmemory", 1)
        with (
            closing(RedisCarrier(f"unix://{folder}/redis.sock?db=4")) as carrier,
            pytest.raises(CarrierAway, match=r"OutOfMemoryError: command not allowed when used memory > 'maxmemory'"),
        ):
            carrier.leads()
        client.config_set("maxmemory", 0)
    with (
        closing(RedisCarrier(f"rediss://who:secret@localhost:{port}/0?ssl_cert_reqs=none")) as carrier,
        pytest.raises(CarrierAway, match="AuthenticationError: invalid username-password") as told,
    ):
        carrier.leads()
    assert "secret" not in str(told.value)
