"""A run's accounts as one line."""

from typing import Any


def in_words(run: Any) -> str:
    accounts = run["accounts"]
    failed = sum(accounts["failed"].values())
    return (
        f"{run['id']}: {accounts['submitted']} submitted = {accounts['queued']} queued + {accounts['running']} running "
        f"+ {accounts['succeeded']} succeeded + {failed} failed + {accounts['cancelled']} cancelled"
    )
