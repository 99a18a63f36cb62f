"""A run's progress in words."""

from collections.abc import Iterator
from typing import Any

from api.cli.terminal import printable
from api.numbers import duration, thousands


def pace(progress: dict[str, Any]) -> str:
    """Rates and time left, or the reason why there are none."""
    if progress["reason"]:
        return printable(progress["reason"])
    words = [f"{progress['rollouts_per_second'] * 60:.1f} rollouts/min"]
    words += [f"{thousands(progress['completion_tokens_per_second'])} tokens/s out"]
    words += [f"{thousands(progress['prompt_tokens_per_second'])} in"]
    if progress["seconds_left"]:
        words += [f"{duration(progress['seconds_left'])} left"]
    return ", ".join(words)


def lines(progress: dict[str, Any], done: bool) -> Iterator[str]:
    """Totals, how it goes unless it is done, then each endpoint."""
    yield (
        f"{thousands(progress['calls'])} model calls: {thousands(progress['prompt_tokens'])} tokens in "
        f"({thousands(progress['cached_tokens'])} cached), {thousands(progress['completion_tokens'])} out"
    )
    if not done:
        yield pace(progress)
    for use in progress["endpoints"]:
        yield f"  {use['endpoint']}  {of_endpoint(use)}"


def of_endpoint(use: dict[str, Any]) -> str:
    words = [use["state"], f"{thousands(use['calls'])} calls, {thousands(use['failures'])} failed"]
    if use["seconds_per_call"] is not None:
        words += [f"{duration(use['seconds_per_call'])} a call"]
    words += [f"{thousands(use['prompt_tokens'])} tokens in, {thousands(use['completion_tokens'])} out"]
    if use["trouble"]:
        words += [f"last trouble: {printable(use['trouble'])}"]
    return "; ".join(words)
