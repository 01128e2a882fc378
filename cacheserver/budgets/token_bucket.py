"""A token bucket: a minute's worth when full, refilled evenly.

What costs more than a full bucket holds is let in by a full one, which then owes: else it were
never let in. Pure; Redis keeps the same sums in Lua (`budgets.rate_limit_store`).
"""

from __future__ import annotations

from dataclasses import dataclass

_MINUTE_S = 60.0


@dataclass(frozen=True, slots=True)
class Bucket:
    level: float
    at: float  # seconds of any clock that only goes forward


def current_level(bucket: Bucket | None, now: float, per_minute: int) -> float:
    """Return what the bucket holds now; one never seen is full."""
    if bucket is None:
        return float(per_minute)
    gained = max(0.0, now - bucket.at) * per_minute / _MINUTE_S
    return min(float(per_minute), bucket.level + gained)


def wait_s(bucket: Bucket | None, now: float, *, per_minute: int, cost: int) -> float:
    """Return the seconds until `cost` can be taken; 0: now."""
    lacking = min(cost, per_minute) - current_level(bucket, now, per_minute)
    return max(0.0, lacking * _MINUTE_S / per_minute)


def adjust(bucket: Bucket | None, now: float, *, per_minute: int, by: float) -> Bucket:
    """Return the bucket with `by` put in, or taken where it is negative; never over its brim."""
    return Bucket(min(float(per_minute), current_level(bucket, now, per_minute) + by), now)
