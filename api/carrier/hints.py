"""What a worker reads from Redis: its own messages, and nothing that anybody else put into their queues.

What is no message of Celery's ends the worker that fetches it, and what is one with another body takes a place that
is never given back. A queue that somebody else wrote into would end one worker after the other.
"""

import logging
from base64 import b64decode
from typing import Any

import orjson
from kombu.transport.redis import Channel

log = logging.getLogger(__name__)

TASK = "trajc.work"
OURS = b"trajc."
"""How the names of our queues begin; others are Celery's own."""


class Hints(Channel):
    # A channel that closes with messages in hand would put them back, over a connection that may just have been lost,
    # and its worker dies of that. Nobody needs them back: the pump sends again what is due.
    do_restore = False

    def _create_client(self, asynchronous: bool = False) -> Any:
        client: Any = super()._create_client(asynchronous)  # type: ignore[no-untyped-call]
        client.set_response_callback("BRPOP", fetched)
        return client


def fetched(answer: "list[bytes] | None", **_: Any) -> "tuple[bytes, bytes] | None":
    """What BRPOP gave: a queue's name and a message. None, as where nothing came, for what is not to be read."""
    if not answer:
        return None
    queue, message = answer
    if queue.startswith(OURS) and not names_a_job(message):
        log.warning("%d bytes in the queue %r are no message of trajc's: thrown away", len(message), queue.decode())
        return None
    return queue, message


def names_a_job(message: bytes) -> bool:
    """Whether it is what `RedisCarrier.send` writes."""
    try:
        told = orjson.loads(message)
        (job, attempt), keywords, _ = orjson.loads(b64decode(told["body"]))
        properties = told["properties"]
        return (
            (told["headers"]["task"], told["content-type"], told["content-encoding"], properties["body_encoding"])
            == (TASK, "application/json", "utf-8", "base64")
            and isinstance(told["headers"]["id"], str)
            and isinstance(job, str)
            and isinstance(attempt, int)
            and keywords == {}
            and isinstance(properties["delivery_tag"], str)
        )
    except (ValueError, LookupError, TypeError):
        return False
