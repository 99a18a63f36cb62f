"""The Celery application. `celery -A api.carrier.app flower` watches it.

Every setting below answers a trap of Celery over Redis; the comment names it.
"""

import ssl
from functools import cache
from typing import Any
from urllib.parse import parse_qs, urlencode

from celery import Celery
from kombu.transport.redis import Transport

from api.carrier.hints import TASK, Hints
from api.carrier.process import worked
from api.settings import read_settings
from rollout.runs import JobKind

QUEUES: dict[JobKind, str] = {
    "rollout": "trajc.rollouts",
    "generation": "trajc.generation",
    "compile_shard": "trajc.compile",
}
"""Each kind has workers of its own: compilation is CPU work, and a compilation that waits for its model calls must not
wait behind the rollouts of others."""

Transport.Channel = Hints


def make_celery(redis_url: str) -> Celery:
    app = Celery("trajc", broker=named_for_celery(redis_url), set_as_current=False)
    app.conf.update(
        # By itself Celery believes any certificate, and shows the password to whoever answers. What the URL says of it
        # (`ssl_ca_certs`, `ssl_cert_reqs`) would be lost beside this; with an authority alone, certificates count.
        broker_use_ssl={"ssl_cert_reqs": ssl.CERT_REQUIRED} if trusts_anybody(redis_url) else None,
        # What a job gave is in the database: results of tasks would only pile up in Redis.
        task_ignore_result=True,
        result_backend=None,
        # A message is gone from Redis once a worker has it. A lease in the database, and not an unacknowledged message,
        # says that a job is worked on: so no visibility timeout delivers a long job again, no lost child acknowledges
        # one, and no worker dies of acknowledging, after a reconnect, what came over the connection before.
        task_acks_late=False,
        broker_transport_options={
            "ack_emulation": False,
            # A connection that is dead without a word is noticed.
            "socket_keepalive": True,
            "socket_connect_timeout": 5,
            "health_check_interval": 10,
            # The pump tries again by itself, and must not hang where it sends.
            "max_retries": 1,
        },
        # A worker fetches no more than it can begin.
        worker_prefetch_multiplier=1,
        # After a lost connection a worker goes on with what it holds, fetches as much as before, and connects again
        # for as long as it takes. Should its consumer stall all the same, its engine asks the database by itself.
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_enable_prefetch_count_reduction=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        # Nor does an answer that is an error end it: a Redis that became a replica or cannot write its disk gets well.
        broker_channel_error_retry=True,
        # No ETA and no countdown anywhere: they bypass prefetch and run twice. When a job is due, and how it is tried
        # again, stands in the database. No time limits either, which the threads pool ignores: a rollout has its own.
        task_default_queue=QUEUES["rollout"],
        # A child may take a while to open its database.
        worker_proc_alive_timeout=60,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        # For Flower.
        worker_send_task_events=True,
        task_send_sent_event=True,
    )
    app.task(name=TASK)(worked)
    return app


def trusts_anybody(redis_url: str) -> bool:
    """Whether it wants TLS and does not say whom to believe."""
    return redis_url.startswith("rediss://") and "ssl_" not in redis_url.partition("?")[2]


def named_for_celery(redis_url: str) -> str:
    """The URL, which is one of the package redis, as Celery reads it: it has other words for a socket in a file."""
    address, _, query = redis_url.partition("?")
    if not address.startswith("unix://"):
        return redis_url
    said = {"virtual_host" if name == "db" else name: values[-1] for name, values in parse_qs(query).items()}
    return f"redis+socket://{address.removeprefix('unix://')}?{urlencode(said)}"


@cache
def application() -> Celery:
    """The application of this process's settings."""
    url = read_settings().redis_url
    if url is None:
        raise SystemExit("TRAJC_REDIS_URL is not set: workers need the Redis that the service uses")
    return make_celery(url)


def __getattr__(name: str) -> Any:
    """`celery -A api.carrier.app` looks for `app`: made when asked for, since it needs the settings."""
    if name == "app":
        return application()
    raise AttributeError(name)
