"""Identifiers: a prefix that says what it names, then 32 hexadecimal digits that sort by time.

`run_` runs, `ro_` rollouts, `gen_` generations, `cs_` compile shards, `ev_` evals, `grp_` the samples of one task,
`tr_` trajectories, `sc_` scores, `comp_` compilations, `ts_` task sets.
"""

import secrets
import threading
import time


class Ids:
    """Makes identifiers that grow strictly within one process: 48 bits of milliseconds, 80 of chance."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._millisecond = 0
        self._last = 0

    def __call__(self, prefix: str) -> str:
        millisecond = int(time.time() * 1000)
        with self._lock:
            if millisecond > self._millisecond:
                self._millisecond = millisecond
                self._last = max(millisecond << 80 | secrets.randbits(79), self._last + 1)
            else:
                self._last += 1
            return f"{prefix}_{self._last:032x}"


class CountedIds:
    """The same shape, counted from 1: for tests whose results must not depend on chance."""

    def __init__(self) -> None:
        self._next = 0

    def __call__(self, prefix: str) -> str:
        self._next += 1
        return f"{prefix}_{self._next:032x}"


def trajectory_id(rollout: str, attempt: int) -> str:
    """One attempt makes at most one trajectory, so its id follows from them."""
    return f"tr_{rollout.partition('_')[2]}_{attempt}"
