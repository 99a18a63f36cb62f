"""A worker and a Redis that is not as it should be: no message and no error of Redis's own ends it."""

import json
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from api.carrier.redis_carrier import RedisCarrier
from tests.acceptance.fleet import Fleet, Process, fleet, until

pytestmark = [pytest.mark.needs("redis"), pytest.mark.timeout(600)]
QUEUE = "trajc.rollouts"


def message(said: str, **other: Any) -> str:
    """As Celery writes one, but for what is other."""
    properties = {"delivery_tag": "1", "body_encoding": "base64", "delivery_info": {"exchange": "", "routing_key": ""}}
    encoded = b64encode(said.encode()).decode()
    told = {"body": encoded, "content-encoding": "utf-8", "content-type": "application/json", "properties": properties}
    return json.dumps(told | {"headers": {"task": "trajc.work", "id": "1", "lang": "py"}} | other)


FOREIGN = (
    "hello",
    b"\xff\xfe\x00",
    "5",
    "null",
    '"text"',
    "[1]",
    "{}",
    "[" * 100_000,
    '{"properties": {}}',
    message("{}"),
    message("[[], {}, {}]"),
    message('[["ro_1", 1], {}]'),
    message('[["ro_1", 1], {}, {}]', body=5),
    message('[["ro_1", 1], {}, {}]', **{"content-type": None}),
    message('[["ro_1", 1], {}, {}]', headers={"task": "another.task", "id": "1"}),
)


@dataclass
class Site:
    fleet: Fleet
    worker: Process

    def works(self) -> None:
        """It reads what the pump sends."""
        with self.fleet.client as client, closing(RedisCarrier(self.fleet.environ["TRAJC_REDIS_URL"])) as carrier:
            carrier.send(QUEUE, "ro_none", 1)
            until(lambda: not client.llen(QUEUE) or self.worker.process.poll() is not None, "the message is read")
        assert self.worker.process.poll() is None, self.worker.log.read_text()[-3000:]

    def is_refused(self) -> None:
        """From now on."""
        lost, before = b"Connection to broker lost", self.worker.said()
        until(
            lambda: self.worker.said()[len(before) :].count(lost) or self.worker.process.poll() is not None, "refused"
        )


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with fleet(tmp_path) as it:
        it.redis().up()
        worker = it.worker(concurrency=2)
        worker.up()
        yield Site(it, worker)


def test_a_message_that_somebody_else_put_into_a_queue_ends_no_worker(site: Site) -> None:
    with site.fleet.client as client:
        client.lpush(QUEUE, *FOREIGN)
    thrown = b"are no message of trajc's"
    until(lambda: site.worker.said().count(thrown) == len(FOREIGN) or site.worker.process.poll() is not None, "read")
    site.works()
    assert site.worker.end() == 0


def test_a_redis_that_answers_with_errors_ends_no_worker(site: Site) -> None:
    """It became a replica, as it does where another takes over; or the name of the queue holds something else."""
    site.works()
    with site.fleet.client as client:
        client.replicaof("127.0.0.1", "1")
        site.is_refused()
        client.replicaof("NO", "ONE")
        site.works()
        client.set(QUEUE, "no list")
        site.is_refused()
        client.delete(QUEUE)
    site.works()
    assert site.worker.end() == 0
