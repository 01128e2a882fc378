"""Remaining share of Claude's rate limits, from the headers of its answers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

_LIMITS = ("requests", "tokens", "input-tokens", "output-tokens")


class UpstreamLimits:
    """Remaining share of each limit as last reported, until the limit resets."""

    def __init__(self) -> None:
        self._left: dict[str, tuple[float, float]] = {}  # share, and until when that holds

    def least(self, now: float) -> float:
        """Return the share left of the limit nearest to its end, 0..1; 1 if none is known."""
        return min((share for share, until in self._left.values() if now < until), default=1.0)

    def note(self, headers: Mapping[str, str]) -> None:
        """Read the headers of an answer. Invalid ones change nothing."""
        for name in _LIMITS:
            left = headers.get(f"anthropic-ratelimit-{name}-remaining")
            if left is None:
                continue
            limit = headers.get(f"anthropic-ratelimit-{name}-limit", "")
            until = _time(headers.get(f"anthropic-ratelimit-{name}-reset", ""))
            if left.isdecimal() and limit.isdecimal() and int(limit) > 0 and until is not None:
                self._left[name] = (min(1.0, int(left) / int(limit)), until)


def _time(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None
