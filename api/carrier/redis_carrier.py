"""Messages over Redis, as Celery reads them."""

import uuid

from kombu.exceptions import OperationalError
from redis import Redis
from redis.exceptions import RedisError

from api.carrier.app import make_celery
from api.carrier.hints import TASK
from api.carrier.pump import CarrierAway

LOCK = "trajc.pump"
LOCK_MILLISECONDS = 5000


class RedisCarrier:
    """A `Carrier`. Thread-safe; closed by its `close`."""

    def __init__(self, redis_url: str) -> None:
        self._celery = make_celery(redis_url)
        self._redis: Redis = Redis.from_url(redis_url, socket_timeout=5, socket_connect_timeout=5)
        self._name = uuid.uuid4().hex

    def leads(self) -> bool:
        try:
            if self._redis.set(LOCK, self._name, nx=True, px=LOCK_MILLISECONDS):
                return True
            if self._redis.get(LOCK) != self._name.encode():
                return False
            return bool(self._redis.pexpire(LOCK, LOCK_MILLISECONDS))
        except RedisError as e:
            raise _away(e) from e

    def waiting(self, queue: str) -> int:
        try:
            return int(self._redis.llen(queue))
        except RedisError as e:
            raise _away(e) from e

    def send(self, queue: str, job: str, attempt: int) -> None:
        try:
            self._celery.send_task(TASK, args=(job, attempt), queue=queue, retry=False, ignore_result=True)
        except (RedisError, OperationalError, OSError) as e:
            raise _away(e) from e

    def clear(self, queue: str) -> None:
        try:
            self._redis.delete(queue)
        except RedisError as e:
            raise _away(e) from e

    def close(self) -> None:
        """Another pump leads at once."""
        try:
            if self._redis.get(LOCK) == self._name.encode():
                self._redis.delete(LOCK)
        except RedisError:
            pass
        self._celery.close()
        self._redis.close()


def _away(error: Exception) -> CarrierAway:
    """With what Redis said; no error of these repeats a password."""
    return CarrierAway(f"{type(error).__name__}: {error}")
