"""Token bucket that holds one minute's worth and refills evenly. Pure.

A request that costs more than a full bucket is admitted by a full one, whose level then is
negative. Redis runs the same algorithm in Lua (`budgets.rate_limit_store`).
"""

from __future__ import annotations

from dataclasses import dataclass

_MINUTE_S = 60.0


@dataclass(frozen=True, slots=True)
class Bucket:
    level: float
    at: float  # seconds of any clock that only goes forward


def current_level(bucket: Bucket | None, now: float, per_minute: int) -> float:
    """Return the level now; a new bucket (None) is full."""
    if bucket is None:
        return float(per_minute)
    gained = max(0.0, now - bucket.at) * per_minute / _MINUTE_S
    return min(float(per_minute), bucket.level + gained)


def wait_s(bucket: Bucket | None, now: float, *, per_minute: int, cost: int) -> float:
    """Return the seconds until `cost` can be taken; 0: now."""
    lacking = min(cost, per_minute) - current_level(bucket, now, per_minute)
    return max(0.0, lacking * _MINUTE_S / per_minute)


def adjust(bucket: Bucket | None, now: float, *, per_minute: int, by: float) -> Bucket:
    """Return the bucket with `by` added (negative: taken), never above full."""
    return Bucket(min(float(per_minute), current_level(bucket, now, per_minute) + by), now)
