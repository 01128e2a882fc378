"""Rules for retries of failed calls to Claude. Pure.

Statuses and back-off are those of the Anthropic SDK, whose own retries are switched off: it would
wait as long as the answer asks, and hold our slot meanwhile.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from email.utils import mktime_tz, parsedate_tz
from typing import Final

_FIRST_S: Final = 0.5  # the SDK's
_LONGEST_S: Final = 8.0  # the SDK's
_JITTER: Final = 0.25  # the SDK's: calls that failed together do not come back together


def retryable(status: int, headers: Mapping[str, str]) -> bool:
    """Return whether another try may succeed. `x-should-retry` goes before the status."""
    should_retry = headers.get("x-should-retry", "").strip().lower()
    if should_retry in ("true", "false"):
        return should_retry == "true"
    return status in (408, 409, 429) or status >= 500


def requested_wait_s(headers: Mapping[str, str], now: float) -> float | None:
    """Return the wait that an answer asks for, in seconds; infinite if beyond any clock.

    None if it asks for none: absent, no number, zero, negative, or a date in the past.
    """
    if (milliseconds := _number(headers.get("retry-after-ms"))) is not None:
        wait = milliseconds / 1_000
    elif (seconds := _number(headers.get("retry-after"))) is not None:
        wait = seconds
    else:
        wait = _until(headers.get("retry-after"), now)
    return wait if wait > 0 else None  # not where it is NaN


def pause_s(tries: int, requested_s: float | None, left_s: float, chance: float) -> float | None:
    """Return the wait before the next try, at most `left_s`; None: no time for one.

    `tries` were made so far; `chance` is in [0, 1). A requested wait is never shortened.
    """
    if left_s <= 0 or (requested_s is not None and requested_s > left_s):
        return None
    if requested_s is not None:
        return min(requested_s * (1 + _JITTER * chance), left_s)
    doubled: float = _FIRST_S * 2 ** min(tries - 1, 10)
    return min(min(doubled, _LONGEST_S) * (1 - _JITTER * chance), left_s)


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _until(text: str | None, now: float) -> float:
    parts = None if text is None else parsedate_tz(text)
    if parts is None:
        return math.nan
    try:
        return mktime_tz(parts) - now
    except (ValueError, OverflowError):
        return math.nan
