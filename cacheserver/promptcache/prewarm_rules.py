"""Schedule of pre-warming, and its request. Pure.

`max_tokens` 0 writes the prefix and answers nothing. Claude refuses it with a stream, with
thinking, with an output format and with a forced tool choice, so none of these is sent.
"""

from __future__ import annotations

from typing import Any, Final

from cacheserver.core.rules.caching import Warm
from cacheserver.promptcache.planner import LIFETIME_S

TICK_S = 10  # how often schedules are looked at
# Margin before the end of a lifetime: two calls are at most a slot, a tick and a call apart.
_EARLY_S: Final = {"5m": 40, "1h": 300}


def slot(warm: Warm, now: float) -> int | None:
    """Return the number of the time slot of `now`; None if nothing is due."""
    if warm.until is not None and now >= warm.until:
        return None
    hour = int(now // 3_600) % 24
    if warm.from_hour <= warm.to_hour:
        due = warm.from_hour <= hour < warm.to_hour
    else:  # over midnight
        due = hour >= warm.from_hour or hour < warm.to_hour
    return int(now // every_s(warm)) if due else None


def every_s(warm: Warm) -> int:
    """Return the seconds between two calls: as set, or short enough to stay warm."""
    return warm.every_s or LIFETIME_S[warm.ttl] - _EARLY_S[warm.ttl]


def body(warm: Warm) -> dict[str, Any]:
    """Return the request, unmarked: the mark belongs on the system prompt."""
    request: dict[str, Any] = {"model": warm.model, "max_tokens": 0}
    if warm.tools:
        request["tools"] = [dict(tool) for tool in warm.tools]
    request["system"] = [{"type": "text", "text": warm.system}]
    request["messages"] = [{"role": "user", "content": "."}]  # after the mark; Claude needs one
    return request
