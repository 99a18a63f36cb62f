"""The HTTP header Retry-After (RFC 9110, 10.2.3)."""

import math
from email.utils import parsedate_to_datetime


def retry_after(header: str | None, now: float) -> float | None:
    """Seconds that it names (as a number, or as an HTTP date against Unix time `now`); None for what names none."""
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(header).timestamp() - now
        except (ValueError, OverflowError):
            return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None
