"""Times given for keys: spans such as `24h` and `90d`, or moments. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from cacheserver.core.errors import BadRequest

_SPAN = re.compile(r"([0-9]{1,9})([smhdw]?)")
_UNIT_S = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_MOST_S = 100 * 365 * 86_400  # a century; beyond it a date cannot be shown


def seconds(field: str, value: object) -> float:
    """Parse a span to seconds: a number, or `30m`, `24h`, `7d`, `2w`."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _MOST_S:
        return float(value)
    if isinstance(value, str) and (found := _SPAN.fullmatch(value)):
        span = int(found[1]) * _UNIT_S[found[2]]
        if span <= _MOST_S:
            return float(span)
    raise BadRequest(field, "must be a time: seconds, or a number with `s`, `m`, `h`, `d` or `w`")


def moment(field: str, value: object, now: float) -> float:
    """Parse a moment to Unix seconds: an ISO 8601 time, or a span from `now`."""
    if isinstance(value, str) and not _SPAN.fullmatch(value):
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            raise BadRequest(field, "must be an ISO 8601 time, or a span such as `90d`") from None
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    return now + seconds(field, value)
