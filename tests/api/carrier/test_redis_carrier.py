"""Messages over a real Redis: what lies in it, who leads, what happens when it forgets."""

import json
import subprocess
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import redis

from api.carrier.app import make_celery
from api.carrier.pump import CarrierAway
from api.carrier.redis_carrier import LOCK, RedisCarrier
from tests.ports import free_port

pytestmark = pytest.mark.needs("redis")


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def server(port: int) -> Iterator["redis.Redis"]:
    command = ["redis-server", "--port", str(port), "--save", "", "--appendonly", "no"]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    client = redis.Redis(port=port)
    try:
        for _ in range(2400):
            try:
                client.ping()
                break
            except redis.ConnectionError:
                time.sleep(0.05)
        yield client
    finally:
        client.close()
        running.terminate()
        running.wait()


@pytest.fixture
def empty(server: "redis.Redis") -> "redis.Redis":
    server.flushall()
    return server


def test_a_message_holds_two_ids_and_nothing_else(empty: "redis.Redis", port: int) -> None:
    with closing(RedisCarrier(f"redis://127.0.0.1:{port}/0")) as carrier:
        carrier.send("trajc.rollouts", "ro_1", 2)
        carrier.send("trajc.compile", "cs_1", 1)
        carrier.clear("trajc.compile")
        assert (carrier.waiting("trajc.rollouts"), carrier.waiting("trajc.compile")) == (1, 0)
    message: Any = json.loads(empty.lindex("trajc.rollouts", 0))  # type: ignore[arg-type]
    arguments, keywords, _ = json.loads(b64decode(message["body"]))
    assert (arguments, keywords) == (["ro_1", 2], {})
    assert message["headers"]["ignore_result"] is True
    assert message["headers"]["eta"] is None
    assert message["content-type"] == "application/json"


def test_one_of_two_pumps_leads_until_it_is_gone(empty: "redis.Redis", port: int) -> None:
    url = f"redis://127.0.0.1:{port}/0"
    first, second = RedisCarrier(url), RedisCarrier(url)
    assert [first.leads(), second.leads(), first.leads()] == [True, False, True]
    assert 0 < empty.pttl(LOCK) <= 5000  # type: ignore[operator]
    first.close()
    assert second.leads()
    empty.flushall()
    assert second.leads(), "a lock that Redis lost is taken again"
    second.close()


def test_a_redis_that_is_not_there_is_said_to_be_away() -> None:
    with closing(RedisCarrier("redis://127.0.0.1:9/0")) as carrier:
        with pytest.raises(CarrierAway):
            carrier.leads()
        with pytest.raises(CarrierAway):
            carrier.clear("trajc.rollouts")
        with pytest.raises(CarrierAway):
            carrier.send("trajc.rollouts", "ro_1", 1)


def test_redis_keeps_no_results_and_a_long_rollout_is_not_delivered_again_for_being_long() -> None:
    conf = make_celery("redis://127.0.0.1:9/0").conf
    assert (conf.result_backend, conf.task_ignore_result) == (None, True)
    assert conf.broker_transport_options["ack_emulation"] is False, "without acknowledgements no visibility timeout"
    assert conf.worker_prefetch_multiplier == 1
    assert conf.worker_cancel_long_running_tasks_on_connection_loss is False
